//! The app with the plugin: its first argument is the folder of its profiles, its second a relay. It is ready once the relay
//! has a thousand blobs of it, and it has read them all again.

use std::{env, thread};

use sync_bench_app::{run, say_ready};
use tauri::AppHandle;
use tauri_plugin_sync::{
    Builder, Secrets, SyncExt as _,
    sync_bridge::{
        Answer,
        dto::{PushOptions, Wait},
    },
};

const BLOBS: usize = 1_000;
const BYTES: usize = 300;

fn main() {
    let mut arguments = env::args().skip(1);
    let mut argument = || arguments.next().expect("a folder and a relay are named");
    let sync = Builder::new().dir(argument()).secrets(Secrets::File).relays([argument()]);
    run(tauri::Builder::default().plugin(sync.build()), |app| {
        thread::spawn(move || work(&app));
    });
}

fn work(app: &AppHandle) {
    let sync = app.sync();
    got(sync.create_group());
    let pushed: Vec<_> = (0..BLOBS)
        .map(|_| sync.push(vec![0x5a; BYTES], PushOptions { wait: Wait::Relay, ..PushOptions::default() }))
        .collect();
    pushed.into_iter().map(got).for_each(drop);
    let mut after = 0;
    loop {
        let page = got(sync.pull(after, None));
        after = page.blobs.last().map_or(after, |blob| blob.cursor);
        if !page.has_more {
            break;
        }
    }
    got(sync.ack(after));
    say_ready();
}

fn got<T: Send + 'static>(answer: Answer<T>) -> T {
    answer.on_channel().recv().expect("it answers").expect("a relay is there")
}
