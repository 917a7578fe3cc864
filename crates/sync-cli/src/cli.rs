//! What can be typed: clap's types, and nothing else.
//!
//! Other people's scripts depend on these words.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

/// Devices in step through a relay that can't read what it carries.
#[derive(Debug, Parser)]
#[command(name = "sync-cli", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// The folder that holds this device's profile [default: .0k-sync in your home folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) profile: Option<PathBuf>,
    /// Print one JSON object a line on standard output, for scripts
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to log on standard error, like `info` or `sync_client=debug`; over RUST_LOG [default: warn]
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a profile for this device; it belongs to no group yet, unless a passphrase starts one
    Init(InitArgs),
    /// Start a group and invite a device, or join one with a code
    Pair(PairArgs),
    /// Give blobs to the group's other devices
    Push(PushArgs),
    /// Print what the group's devices pushed
    Pull(PullArgs),
    /// Print what the group's devices push, as it comes, until interrupted
    Watch(WatchArgs),
    /// Send and fetch until nothing is pending
    Sync(SyncArgs),
    /// Say how things stand
    Status(StatusArgs),
    /// Note that everything up to a cursor has been applied
    Ack(AckArgs),
    /// List the group's devices: who is online, and who was seen when
    Devices(DevicesArgs),
    /// Give a device of the group another name, on all devices
    RenameDevice(RenameDeviceArgs),
    /// Take a device out of the group, and give the others new keys
    RemoveDevice(RemoveDeviceArgs),
    /// Give the group new keys, without removing anybody
    RotateKey,
    /// Make a recovery kit: a page and a code that lead back into the group when every device is lost
    ExportKit(ExportKitArgs),
    /// Get back into a group with a recovery kit
    ImportKit(ImportKitArgs),
    /// Give and load the state that devices which join later begin with, instead of reading everything
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Take this device out of its group, and delete what it has of it
    LeaveGroup(LeaveGroupArgs),
    /// Look at everything that sync rests on, and say what to do about what is wrong
    Doctor,
    /// Mend what `doctor` names and a program can mend: what the disk has damaged, and what relays lack
    Repair(RepairArgs),
    /// Print a report for whoever helps: how everything stands, without names, addresses and keys
    Diagnostics,
    /// Choose the relays that carry this device's blobs; every blob goes to all of them
    #[command(subcommand)]
    Relay(RelayCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RelayCommand {
    /// List them, the one that is asked first at the top
    List(RelayListArgs),
    /// Use another relay too: it gets what it lacks of what this device holds
    Add(RelayArgs),
    /// Use a relay no more; what it holds stays there, until its time is over
    Remove(RelayArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Give the state that comes of everything in the local log, all of which is acknowledged
    Publish(PublishArgs),
    /// Begin with the newest that a relay has; a device that joined with --snapshot reads nothing before
    Load(LoadArgs),
}

#[derive(Args, Debug)]
pub(crate) struct PublishArgs {
    /// The file that holds the state, of 32 MiB at most
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Seconds to wait until a relay keeps it
    #[arg(long, value_name = "S", default_value_t = 30)]
    pub(crate) timeout: u32,
}

#[derive(Args, Debug)]
pub(crate) struct LoadArgs {
    /// Write it there
    #[arg(long, value_name = "FILE", required_unless_present = "refuse")]
    pub(crate) output: Option<PathBuf>,
    /// Say that it is of no use: then there may be another one, or everything is read from the log
    #[arg(long, conflicts_with = "output")]
    pub(crate) refuse: bool,
    /// Seconds to wait for it
    #[arg(long, value_name = "S", default_value_t = 30)]
    pub(crate) timeout: u32,
}

#[derive(Args, Debug)]
pub(crate) struct RelayListArgs {
    /// Say what is known here, and ask no relay
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RelayArgs {
    /// The relay: its http(s):// address, its ticket, or id@host:port; `relay list` shows them
    #[arg(value_name = "WHERE")]
    pub(crate) relay: String,
}

#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// This device's name, as the group's other devices will see it
    #[arg(long)]
    pub(crate) name: String,
    /// A relay: its http(s):// address, its ticket, or id@host:port; several if said several times, the preferred first
    #[arg(long, value_name = "WHERE", required = true)]
    pub(crate) relay: Vec<String>,
    /// The app whose group this is; devices of different apps can't pair
    #[arg(long, value_name = "ID", default_value = "sync-cli")]
    pub(crate) app: String,
    /// Where this device's keys rest; a file in the profile is for machines without a keychain
    #[arg(long, value_enum, default_value_t = Secrets::Keychain)]
    pub(crate) secrets: Secrets,
    /// Start a group at once, with first keys from a passphrase instead of random ones; asks for it, twice. It is kept
    /// nowhere, and lets nobody in: other devices are paired as ever
    #[arg(long)]
    pub(crate) passphrase: bool,
    /// The same with the passphrase in a file, as its only line
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Secrets {
    /// The system's keychain
    Keychain,
    /// A file in the profile that only this user can read
    File,
}

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("side").required(true).args(["create", "join"])))]
pub(crate) struct PairArgs {
    /// Show a code, a link and a QR code that let one device in; without a group yet, start one
    #[arg(long)]
    pub(crate) create: bool,
    /// Join the group whose device shows this code or link, or this QR code (a PNG or JPEG file); - reads a code or link
    /// from standard input, where no process list shows it
    #[arg(long, value_name = "INVITE")]
    pub(crate) join: Option<String>,
    /// Don't ask whether both screens show the same digits
    #[arg(long)]
    pub(crate) yes: bool,
    /// Read nothing yet: begin with a snapshot, which `snapshot load` gets
    #[arg(long, requires = "join")]
    pub(crate) snapshot: bool,
}

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("what").required(true).args(["text", "file", "lines"])))]
pub(crate) struct PushArgs {
    /// The blob, as text
    pub(crate) text: Option<String>,
    /// The blob, from a file
    #[arg(long, value_name = "F")]
    pub(crate) file: Option<PathBuf>,
    /// A blob from each line of standard input
    #[arg(long)]
    pub(crate) lines: bool,
    /// How far a blob has to get before it is reported
    #[arg(long, value_enum, default_value_t = Wait::Local)]
    pub(crate) wait: Wait,
    /// Seconds that relays keep it [default: the relay's own time, mostly seven days]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ttl: Option<u32>,
    /// Seconds to wait with --wait; after that a blob is reported as far as it got, and goes on by itself
    #[arg(long, value_name = "S", default_value_t = 30)]
    pub(crate) timeout: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Wait {
    /// Until it is safe on this device
    Local,
    /// Until one relay has it
    Relay,
    /// Until every relay has it
    All,
}

#[derive(Args, Debug)]
pub(crate) struct PullArgs {
    /// Print only what comes after this cursor
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) after_cursor: u64,
    /// Print at most this many blobs
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Print what is here, and ask no relay
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// Start after this cursor [default: after the newest blob]
    #[arg(long, value_name = "N")]
    pub(crate) after_cursor: Option<u64>,
    /// Push each line of standard input meanwhile; what is pushed is printed in its turn like everything else
    #[arg(long)]
    pub(crate) lines: bool,
}

#[derive(Args, Debug)]
pub(crate) struct SyncArgs {
    /// Seconds to try
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub(crate) timeout: u32,
}

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Say what is known here, and ask no relay
    #[arg(long)]
    pub(crate) offline: bool,
    /// Say of each blob on which relays and devices it is
    #[arg(long)]
    pub(crate) blobs: bool,
    /// Of those after this cursor
    #[arg(long, value_name = "CURSOR", default_value_t = 0, requires = "blobs")]
    pub(crate) after_cursor: u64,
}

#[derive(Args, Debug)]
pub(crate) struct AckArgs {
    /// The cursor of the last blob that has been applied
    #[arg(value_name = "N")]
    pub(crate) cursor: u64,
}

#[derive(Args, Debug)]
pub(crate) struct DevicesArgs {
    /// Say what is known here, and ask no relay
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RenameDeviceArgs {
    /// The device's id, or the beginning of it that no other device's has
    #[arg(value_name = "DEVICE_ID")]
    pub(crate) device: String,
    /// The new name
    pub(crate) name: String,
}

#[derive(Args, Debug)]
pub(crate) struct RemoveDeviceArgs {
    /// The device's id, or the beginning of it that no other device's has
    #[arg(value_name = "DEVICE_ID")]
    pub(crate) device: String,
    /// Keep the group's keys: the device is only struck off, and could still read what it came by
    #[arg(long)]
    pub(crate) keep_key: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ExportKitArgs {
    /// Write the page to print there, as HTML, and show the code alone
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ImportKitArgs {
    /// The kit: the file of its page, a picture of its QR code (a PNG or JPEG file), or its text; - reads the text from
    /// standard input. Its code is asked for, and read from standard input as well
    #[arg(value_name = "KIT")]
    pub(crate) kit: String,
    /// A file with the code, instead of being asked for it
    #[arg(long, value_name = "FILE")]
    pub(crate) code_file: Option<PathBuf>,
    /// A copy of the profile's folder of one of the group's devices, made after the kit: what it holds comes back even if no
    /// relay has it any more. Its keys are not needed, and it is not written to. If this is interrupted, type it again
    #[arg(long, value_name = "FOLDER")]
    pub(crate) backup: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct RepairArgs {
    /// Seconds to wait for the relays
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub(crate) timeout: u32,
    /// Instead, rename a database that can't be read, and the keys beside it, so that a new profile can be made in its place;
    /// nothing is deleted
    #[arg(long)]
    pub(crate) set_aside: bool,
}

#[derive(Args, Debug)]
pub(crate) struct LeaveGroupArgs {
    /// Leave even if something here is on no relay yet, or nobody else is in the group: it is lost then
    #[arg(long)]
    pub(crate) force: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
