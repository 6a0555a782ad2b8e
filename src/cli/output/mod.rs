//! How things look in a terminal: tables, colours, times.
