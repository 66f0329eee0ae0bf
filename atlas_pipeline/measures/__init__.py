"""The measures of a cell: ``table.py`` declares each measure's name, meaning and display once."""
