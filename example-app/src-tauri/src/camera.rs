//! WebKitGTK lets pages use a camera only if the app says so, twice: for all of them, and when one asks.

use tauri::{Runtime, WebviewWindow};
use webkit2gtk::{
    DeviceInfoPermissionRequest, PermissionRequestExt as _, SettingsExt as _, UserMediaPermissionRequest,
    UserMediaPermissionRequestExt as _, WebViewExt as _,
    glib::{Cast as _, IsA, ObjectExt as _},
};

/// Lets the window's page see whether there is a camera, and use it. The page asks when somebody presses the button for it.
///
/// `drawn` takes one that WebKit draws itself.
pub(crate) fn allow<R: Runtime>(window: &WebviewWindow<R>, drawn: bool) -> tauri::Result<()> {
    window.with_webview(move |webview| {
        let view = webview.inner();
        if let Some(settings) = view.settings() {
            settings.set_enable_media_stream(true);
            settings.set_enable_mock_capture_devices(drawn);
        }
        view.connect_permission_request(|_, request| {
            let allowed = is_for_cameras(request);
            if allowed {
                request.allow();
            }
            // Whatever nobody answers is denied.
            allowed
        });
    })
}

/// Which devices there are, or pictures; never sound.
fn is_for_cameras(request: &impl IsA<webkit2gtk::PermissionRequest>) -> bool {
    let request = request.upcast_ref();
    let media = request.downcast_ref::<UserMediaPermissionRequest>();
    request.is::<DeviceInfoPermissionRequest>()
        || media.is_some_and(|media| media.is_for_video_device() && !media.is_for_audio_device())
}
