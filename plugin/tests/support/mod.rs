//! A Tauri app on the mock runtime with the plugin in it, a relay, and other devices. The only code here that knows how they
//! are set up.

mod app;
mod device;

pub(crate) use app::*;
pub(crate) use device::*;
