// Lets the viewer's page work without its folder: its scripts and pictures are taken from FILES, by name.

(() => {
  const files = FILES;
  const nameOf = (address) => decodeURIComponent(String(address).replace(/^\.\//, "").replace(/\?.*$/, ""));
  /** Call give(element, file) in place of loading a file that is here. */
  const intercept = (prototype, give) => {
    const { get, set } = Object.getOwnPropertyDescriptor(prototype, "src");
    const replaced = function (address) {
      const file = files[nameOf(address)];
      if (file === undefined) set.call(this, address);
      else give(this, file, set);
    };
    Object.defineProperty(prototype, "src", { get, set: replaced, configurable: true });
  };
  intercept(HTMLScriptElement.prototype, (script, code) => {
    script.textContent = code; // runs when the script is added to the page
    setTimeout(() => script.dispatchEvent(new Event("load")));
  });
  intercept(HTMLImageElement.prototype, (image, picture, set) => set.call(image, picture));
})();
