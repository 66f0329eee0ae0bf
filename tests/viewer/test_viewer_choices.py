"""Fields with a list: Enter takes the requested entry, and the list shows how many entries there are."""

import making_viewer
from making_viewer import make_viewer
from seeing import state, until


def open_list(page, name):
    page.focus(f"#{name}")
    page.wait_for_selector(f"#{name}-list:not([hidden])")


def test_enter_takes_no_option_that_nobody_chose(opened):
    page = opened("#grid=8")
    page.focus("#map")
    page.keyboard.press("/")
    page.wait_for_selector("#class-list:not([hidden])")
    page.keyboard.press("Enter")
    assert state(page)["lit"] == ""
    open_list(page, "find")
    page.keyboard.press("Enter")
    assert state(page)["found"] == ""
    # Arrow keys move through the list from either end.
    open_list(page, "class")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert state(page)["lit"] == "4"


def test_enter_leaves_the_class_that_is_lit_up(opened):
    page = opened("#grid=8&lit=2")
    open_list(page, "class")
    assert page.locator("#class-list li").all_inner_texts() == ["ant", "bee", "cat", "dog", "emu"]
    assert page.locator("#class-list li[aria-selected=true]").all_inner_texts() == ["cat"]
    page.keyboard.press("Enter")
    assert state(page)["lit"] == "2"
    # A typed class name works like a chosen one.
    open_list(page, "class")
    page.keyboard.type("cat")
    until(page, "document.querySelectorAll('#class-list li').length === 1")
    page.keyboard.press("Enter")
    assert state(page)["lit"] == "2"
    open_list(page, "class")
    page.keyboard.type("d")
    until(page, "document.querySelectorAll('#class-list li').length === 1")
    page.keyboard.press("Enter")
    assert state(page)["lit"] == "3"


def test_a_list_says_how_many_more_there_are(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(making_viewer, "NUM_IMAGES", 500)
    page = opened("", make_viewer(tmp_path, grids=(4,)))
    page.fill("#find", "image-")
    until(page, "document.querySelectorAll('#find-list li').length === 61")
    assert page.locator("#find-list li").last.inner_text() == "and 440 more: type on"


def test_filtering_the_views_leaves_their_lit_activations(opened):
    page = opened("#layer=late&found=label:1")
    lit = """() => document.querySelector("#views canvas").getContext("2d")
        .getImageData(0, 0, 88, 88).data.some((value) => value > 0)"""
    until(page, lit)
    page.evaluate("document.getElementById('views-filter').dispatchEvent(new Event('input'))")
    assert page.evaluate(lit)
