//! Small things that both processes use.
