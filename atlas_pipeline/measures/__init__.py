"""The numbers of a cell: what each is called, means and looks like, declared once in ``table.py``."""
