//! `openclaw-trace token`: a token for an agent, and the line by which a gateway knows it.
//!
//! The two never go the same way: the token to standard output, for the agent's machine; the line, which holds
//! its hash, to standard error or to the gateway's file.

use std::path::Path;

use sources::http_ingest::tokens;

use crate::cli::Failure;
use crate::logging::say;

pub(crate) fn make(agent: &str, org: Option<&str>, file: Option<&Path>) -> Result<String, Failure> {
    let (token, line) = tokens::fresh(agent, org).map_err(|message| Failure { code: 2, message })?;
    match file {
        None => say(&format!("# the line of agent {agent} for tokens_file\n{line}")),
        Some(path) => {
            tokens::append(path, &line).map_err(Failure::failed)?;
            say(&format!("{}: added; a running gateway reads it at SIGHUP", path.display()));
        }
    }
    Ok(token + "\n")
}
