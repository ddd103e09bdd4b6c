//! The offline servers: a tool for development and tests, never for production.
