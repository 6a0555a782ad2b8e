//! From TOML text to specs, with a place for every complaint. Pure.
