//! The hands: parent of every instance. No policy, no store, no API.
