"""Image files, kernel files and atomic writing; nothing here imports torch."""
