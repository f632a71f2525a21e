//! Random secrets for the processes and components that this program starts.

use gha_slurm_protocol::hex::hex;

/// 160 random bits.
pub(crate) fn random_secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 20];
    getrandom::getrandom(&mut bytes)?;
    Ok(hex(bytes))
}
