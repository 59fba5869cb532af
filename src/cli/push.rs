//! `gitlode push`: uploads an export to the Hugging Face Hub.

use std::path::PathBuf;

use super::Error;

#[derive(clap::Args)]
#[command(
    after_help = "The token is that of Hugging Face's own tools: HF_TOKEN, the file HF_TOKEN_PATH, or what `hf auth login` left. \
HF_ENDPOINT names another Hub. All files go in one commit; a push that was stopped has changed nothing, and the next one \
does not send again what arrived."
)]
pub struct Args {
    /// The directory that `gitlode export --format hf` (or another format) wrote.
    directory: PathBuf,
    /// The dataset repository; it is made where it is not there.
    #[arg(value_name = "OWNER/NAME")]
    repository: String,
    /// The branch.
    #[arg(long, default_value = "main")]
    revision: String,
    /// Subject of the commit.
    #[arg(long, value_name = "TEXT", default_value = "Upload an export of gitlode")]
    message: String,
    /// Make the repository private, where it is not there yet.
    #[arg(long)]
    private: bool,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
    /// Show no progress.
    #[arg(short, long)]
    quiet: bool,
}

#[cfg(feature = "push")]
pub fn run(args: &Args) -> Result<(), Error> {
    use std::io::IsTerminal as _;

    use indicatif::{ProgressBar, ProgressStyle};

    use super::{counted, grouped, print};
    use crate::hub::{Push, push};

    let bar = if args.quiet || !std::io::stderr().is_terminal() { ProgressBar::hidden() } else { ProgressBar::new(0) };
    let template = "[{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}";
    bar.set_style(ProgressStyle::with_template(template).expect("the template is valid").progress_chars("=> "));
    let shown = bar.clone();
    let pushed = push(
        &Push {
            directory: &args.directory,
            repository: &args.repository,
            revision: &args.revision,
            message: &args.message,
            private: args.private,
        },
        move |done, total| {
            shown.set_length(total);
            shown.set_position(done);
        },
    );
    bar.finish_and_clear();
    let pushed = pushed?;
    if args.json {
        return print(&format!("{:#}\n", serde_json::json!(pushed)));
    }
    if pushed.commit.is_none() {
        return print(&format!("nothing to push: {} has these files\n", pushed.url));
    }
    let sent = counted(pushed.sent, "file", "files");
    let (bytes, unchanged, deleted) = (grouped(pushed.bytes), pushed.unchanged, pushed.deleted);
    print(&format!("sent {sent} ({bytes} bytes), {unchanged} unchanged, {deleted} deleted: {}\n", pushed.url))
}

#[cfg(not(feature = "push"))]
pub fn run(args: &Args) -> Result<(), Error> {
    Err(Error::Usage(format!(
        "this program was built without uploads: build it with `--features push`, or run `hf upload {} {} --repo-type dataset`",
        args.repository,
        args.directory.display()
    )))
}
