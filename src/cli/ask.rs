//! Asks a running instance, at its admin server.

use clap::Args;
use std::net::SocketAddr;
use std::time::Duration;

/// Which running instance.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// Where the admin server listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8401")]
    pub admin: SocketAddr,
    /// The token of `admin.token`, if one is set
    #[arg(long, value_name = "TOKEN", env = "RINGMAIN_ADMIN_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer read.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// What came of asking.
pub enum Asked {
    /// The answer.
    Answered(String),
    /// It answered that this cannot be, and why.
    Refused(String),
    /// There was no answer, and why.
    Failed(String),
}

/// Asks with GET; `path` may have a query.
pub fn get(admin: &AdminArgs, path: &str) -> Asked {
    get_within(admin, path, TIMEOUT)
}

/// The same where the answer may take no longer than `timeout`.
pub fn get_within(admin: &AdminArgs, path: &str, timeout: Duration) -> Asked {
    let request = |agent: &ureq::Agent, url: &str| {
        let request = agent.get(url);
        match &admin.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
        .call()
    };
    ask(admin, path, timeout, request)
}

/// Asks with POST and no body.
pub fn post(admin: &AdminArgs, path: &str) -> Asked {
    post_body(admin, path, "")
}

/// Asks with POST.
pub fn post_body(admin: &AdminArgs, path: &str, body: &str) -> Asked {
    let request = |agent: &ureq::Agent, url: &str| {
        let request = agent.post(url);
        match &admin.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
        .send(body)
    };
    ask(admin, path, TIMEOUT, request)
}

fn ask(
    admin: &AdminArgs,
    path: &str,
    timeout: Duration,
    request: impl Fn(&ureq::Agent, &str) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Asked {
    // No proxy: the server is on this host or close by, whatever http_proxy says for the rest of the world.
    let config = ureq::Agent::config_builder()
        .proxy(None)
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let url = format!("http://{}{path}", admin.admin);
    let shown = url.split('?').next().unwrap_or(&url);
    let answer = request(&agent, &url).and_then(|mut response| {
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
        Ok((response.status().as_u16(), body))
    });
    match answer {
        Ok((200..300, body)) => Asked::Answered(body),
        Ok((status, body)) => match body.trim_end() {
            "" => Asked::Refused(format!("{shown} answered {status}")),
            why => Asked::Refused(why.into()),
        },
        Err(ureq::Error::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => nobody(shown),
        Err(ureq::Error::ConnectionFailed) => nobody(shown),
        Err(error) => Asked::Failed(format!("{shown}: {error}")),
    }
}

fn nobody(url: &str) -> Asked {
    Asked::Failed(format!("nothing listens on {url}: is ringmain running, with `admin` there?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn answers_are_fetched_over_http_and_a_closed_port_is_said_clearly() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = AdminArgs { admin: listener.local_addr().unwrap(), token: Some("t0ken".into()) };
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\n{\"a\":1}")
                .unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        assert!(matches!(get(&admin, "/stats"), Asked::Answered(answer) if answer == "{\"a\":1}"));
        let head = server.join().unwrap().to_ascii_lowercase();
        assert!(head.starts_with("get /stats http/1.1\r\n") && head.contains("authorization: bearer t0ken"));
        assert!(matches!(get(&admin, "/stats"), Asked::Failed(why) if why.contains("nothing listens on")));
    }
}
