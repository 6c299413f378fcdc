//! Certificates for nodes that want TLS, made by openssl.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A certificate authority, and a certificate of it for the first address of a network: `ca.pem`, `server.pem`.
pub(crate) fn certificates(dir: &Path, network: &str) -> Result<(), String> {
    let elliptic = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (authority, authority_key) = (file("ca.pem"), file("ca.key"));
    let (request, key, certificate) = (file("server.csr"), file("server.key"), file("server.crt"));
    let mut make = vec!["req", "-x509", "-subj", "/CN=test authority", "-days", "2"];
    make.extend(elliptic);
    make.extend(["-keyout", &authority_key, "-out", &authority, "-addext", "keyUsage=critical,keyCertSign"]);
    openssl(&make)?;
    let mut ask = vec!["req", "-subj", "/CN=test server", "-keyout", &key, "-out", &request];
    ask.extend(elliptic);
    openssl(&ask)?;
    let extensions = file("extensions");
    fs::write(&extensions, format!("subjectAltName=IP:{network}.1\nbasicConstraints=critical,CA:FALSE\n")).unwrap();
    let mut sign = vec!["x509", "-req", "-days", "2", "-in", &request, "-out", &certificate, "-extfile", &extensions];
    sign.extend(["-CA", &authority, "-CAkey", &authority_key, "-CAcreateserial"]);
    openssl(&sign)?;
    let parts = [&key, &certificate, &authority].map(|part| fs::read_to_string(part).unwrap());
    fs::write(dir.join("server.pem"), parts.concat()).unwrap();
    Ok(())
}

fn openssl(arguments: &[&str]) -> Result<(), String> {
    let done = Command::new("openssl").args(arguments).stdin(Stdio::null()).output();
    let done = done.map_err(|error| format!("openssl, which makes the certificates, can not be run: {error}"))?;
    let problem = || format!("openssl {}: {}", arguments[0], String::from_utf8_lossy(&done.stderr));
    if done.status.success() { Ok(()) } else { Err(problem()) }
}
