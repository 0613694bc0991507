//! The client's half of the handshake. The host proves that it knows the secret too, so that a process in its
//! place learns nothing and is not believed.

use std::sync::Arc;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::error::{Error, ErrorKind};
use crate::link::Link;
use crate::settings::Settings;
use crate::source::Credentials;

const PROTOCOL_VERSION: &str = "1";
const CLIENT_LABEL: &[u8] = b"native-host/1 client";
const HOST_LABEL: &[u8] = b"native-host/1 host";

/// What a host says about itself.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Introduction {
    /// The version of the protocol that it speaks.
    pub protocol_version: String,
    /// Who it is.
    pub server: Server,
    /// What it can do.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// What fits.
    pub limits: Limits,
    #[serde(default)]
    pub(crate) auth: Auth,
}

/// Who answers.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Server {
    /// The program's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
}

/// What a host can do.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Capabilities {
    /// The methods that it answers.
    pub methods: Vec<String>,
    /// The notifications that it sends.
    pub notifications: Vec<String>,
}

/// Bytes a frame, seen from the host.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Limits {
    /// The longest frame that it takes.
    pub max_frame_in: usize,
    /// The longest frame that it sends.
    pub max_frame_out: usize,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Auth {
    required: bool,
    schemes: Vec<String>,
    nonce: Option<String>,
}

#[derive(Serialize)]
struct Initialize<'a> {
    protocol_version: &'a str,
    client: Client<'a>,
}

#[derive(Serialize)]
struct Client<'a> {
    name: &'a str,
    version: &'a str,
    max_frame_in: usize,
}

#[derive(Serialize)]
struct ProveSecret {
    client_nonce: String,
    mac: String,
}

#[derive(Serialize)]
struct ShowKey<'a> {
    api_key: &'a str,
}

#[derive(Default, Deserialize)]
struct Authenticated {
    #[serde(default)]
    mac: String,
}

/// `initialize`, then `authenticate` with what there is to show.
pub(crate) async fn introduce(
    link: &Arc<Link>,
    settings: &Settings,
    credentials: &Credentials,
) -> Result<Introduction, Error> {
    let client = Client {
        name: &settings.client_name,
        version: &settings.client_version,
        max_frame_in: settings.max_frame_in,
    };
    let params = Initialize {
        protocol_version: PROTOCOL_VERSION,
        client,
    };
    let host: Introduction = match link.ask("initialize", &params).await {
        Err(Error::Rpc(refusal)) if refusal.kind == ErrorKind::UnsupportedProtocol => {
            return Err(Error::UnsupportedProtocol {
                problem: refusal.message.clone(),
                supported: strings(refusal.data.get("supported")),
            });
        }
        answered => answered?,
    };
    check_version(&host.protocol_version)?;
    match credentials {
        Credentials::Secret(secret) => prove(link, secret, host.auth.nonce.as_deref()).await?,
        Credentials::ApiKey(key) if host.auth.required => {
            link.ask::<_, serde_json::Value>("authenticate", &ShowKey { api_key: key })
                .await?;
        }
        _ if host.auth.required => {
            let schemes = host.auth.schemes.join(", ");
            return Err(refused(format!(
                "the host wants to know who asks; it takes: {schemes}"
            )));
        }
        _ => {}
    }
    Ok(host)
}

fn check_version(spoken: &str) -> Result<(), Error> {
    if spoken.split('.').next() == Some(PROTOCOL_VERSION) {
        return Ok(());
    }
    let ours: u32 = PROTOCOL_VERSION.parse().unwrap_or_default();
    let theirs = spoken
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    let update = if theirs.is_some_and(|major| major < ours) {
        "the host"
    } else {
        "this program"
    };
    Err(Error::UnsupportedProtocol {
        problem: format!(
            "the host speaks protocol version {spoken:?}, this program {ours}: update {update}"
        ),
        supported: vec![spoken.to_owned()],
    })
}

async fn prove(link: &Arc<Link>, secret: &[u8], nonce: Option<&str>) -> Result<(), Error> {
    let Some(nonce) = nonce else {
        return Err(refused(
            "a secret was given, but the host was started without one".to_owned(),
        ));
    };
    let theirs = base16ct::mixed::decode_vec(nonce)
        .map_err(|_| refused("the host's nonce is not in hexadecimal".to_owned()))?;
    let mut ours = [0; 32];
    getrandom::fill(&mut ours).map_err(|error| Error::System {
        problem: error.to_string(),
    })?;
    let shown = ProveSecret {
        client_nonce: base16ct::lower::encode_string(&ours),
        mac: base16ct::lower::encode_string(
            &mac(secret, CLIENT_LABEL, &theirs, &ours)?
                .finalize()
                .into_bytes(),
        ),
    };
    let answer: Authenticated = link.ask("authenticate", &shown).await?;
    let proof = base16ct::mixed::decode_vec(&answer.mac).unwrap_or_default();
    mac(secret, HOST_LABEL, &ours, &theirs)?.verify_slice(&proof).map_err(|_| {
        refused("the host did not prove that it knows the secret; it is not the one that was expected".to_owned())
    })
}

fn mac(secret: &[u8], label: &[u8], first: &[u8], second: &[u8]) -> Result<Hmac<Sha256>, Error> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret).map_err(|error| refused(error.to_string()))?;
    mac.update(label);
    mac.update(first);
    mac.update(second);
    Ok(mac)
}

fn refused(problem: String) -> Error {
    Error::Handshake { problem }
}

fn strings(value: Option<&serde_json::Value>) -> Vec<String> {
    value
        .and_then(|list| Vec::deserialize(list).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_that_of_the_wire() {
        // Computed by Python's hmac module over the same bytes.
        let found = mac(b"0123456789abcdef", CLIENT_LABEL, &[1; 32], &[2; 32])
            .unwrap()
            .finalize()
            .into_bytes();
        assert_eq!(
            base16ct::lower::encode_string(&found),
            "71547ee807eb9d28d7fdee226a162b23e10437105528f382c78c6138cad0ab7a"
        );
    }

    #[test]
    fn another_major_version_is_refused_with_the_side_to_update() {
        assert!(check_version("1").is_ok());
        assert!(check_version("1.7").is_ok());
        for (spoken, side) in [
            ("2", "update this program"),
            ("0", "update the host"),
            ("x", "update this program"),
        ] {
            let refusal = check_version(spoken).unwrap_err();
            assert!(refusal.to_string().contains(side), "{refusal}");
        }
    }
}
