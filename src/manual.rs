//! What is made from the command line's own description: shell completions and the man page.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Cli;
use crate::cli::Failure;

/// The completions of a shell.
pub(crate) fn completions(shell: Shell) -> String {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "openclaw-trace", &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// The man page, one section for each command.
pub(crate) fn page() -> Result<String, Failure> {
    let mut out = Vec::new();
    let written = write_page(&mut out);
    written.map_err(|error| Failure::failed(format!("cannot write the man page: {error}")))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn write_page(out: &mut Vec<u8>) -> std::io::Result<()> {
    let command = Cli::command();
    let man = Man::new(command.clone());
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    for sub in command.get_subcommands() {
        section(out, command.get_name(), sub)?;
    }
    man.render_extra_section(out)?;
    man.render_version_section(out)
}

/// One command: what would be a page of its own is one section here, so its parts have no heads.
fn section(out: &mut Vec<u8>, above: &str, command: &clap::Command) -> std::io::Result<()> {
    let name = format!("{above} {}", command.get_name());
    let man = Man::new(command.clone().bin_name(&name).display_name(&name).disable_help_flag(true));
    let mut parts = Vec::new();
    man.render_description_section(&mut parts)?;
    man.render_synopsis_section(&mut parts)?;
    man.render_options_section(&mut parts)?;
    let title = name.to_uppercase().replace('-', "\\-");
    writeln!(out, ".SH \"{title}\"")?;
    for line in String::from_utf8_lossy(&parts).lines() {
        match line {
            // The head of a page, once for each part.
            _ if line.starts_with(".ie ") || line.starts_with(".el ") => {}
            ".SH DESCRIPTION" | ".SH OPTIONS" => {}
            ".SH SYNOPSIS" => writeln!(out, ".PP")?,
            _ => writeln!(out, "{line}")?,
        }
    }
    for sub in command.get_subcommands() {
        section(out, &name, sub)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_man_page_has_every_command() {
        let Ok(page) = page() else { panic!("cannot be written") };
        for part in [".SH \"OPENCLAW\\-TRACE STORE BACKUP\"", ".SH \"OPENCLAW\\-TRACE EXPORT\"", "\\-\\-follow"] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }
}
