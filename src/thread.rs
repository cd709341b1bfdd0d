//! Named, pinned threads and the table of what each one does.
