//! A made-up machine that drives the core. Pure.
