//! The bar on standard error while a large file is sealed, opened or verified; nothing where nobody looks.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::render::Form;

/// A bar over so many bytes; none where there is nothing to wait for.
pub(super) fn bar(total_bytes: u64, form: Form) -> ProgressBar {
    let target = if form == Form::Text && total_bytes >= WORTH_A_BAR_BYTES {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(total_bytes), target);
    let style = ProgressStyle::with_template("  {bytes}/{total_bytes} {bar:20} {bytes_per_sec}");
    bar.set_style(style.expect("the template is one of indicatif's examples in form"));
    bar
}

/// A tenth of a second.
const WORTH_A_BAR_BYTES: u64 = 64 * 1024 * 1024;
