"""The atlas as a document: JSON and picture, with how they were made."""
