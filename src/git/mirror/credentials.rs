//! Passwords and tokens: where they come from, and which host they are for.

use std::io::Write as _;
use std::process::{Command, Stdio};

use gix::bstr::ByteSlice as _;
use gix::credentials::{helper, protocol};
use gix::url::Scheme;

/// Answers the transport's questions for a password.
pub(super) struct Credentials {
    /// User and password of the URL, and the host that they are for.
    pub(super) given: Option<(String, String)>,
    pub(super) host: Option<(String, Option<u16>)>,
    pub(super) from_helper: bool,
}

impl Credentials {
    pub(super) fn answer(&mut self, action: helper::Action) -> gix::Result<Option<protocol::Outcome>> {
        let helper::Action::Get(context) = &action else {
            // Nobody needs to remember a token from the environment.
            if self.from_helper {
                ask_helper(&action)?;
            }
            return Ok(None);
        };
        // This is the URL after redirects: the host that gets the answer, not the one that was asked for.
        let url = context.url.as_ref().and_then(|url| gix::url::parse(url.as_bstr()).ok());
        let refusal = match &url {
            Some(url) if url.scheme == Scheme::Https => None,
            Some(url) if url.scheme == Scheme::Ssh => Some("the ssh key or host key wasn't accepted"),
            _ => Some("it wants a password, which isn't sent without encryption"),
        };
        if let Some(refusal) = refusal {
            return Err(gix::Error::from(gix::error::unauthenticated(refusal)));
        }
        let host = url.as_ref().and_then(|url| url.host()).unwrap_or_default();
        let given = self.given.clone().filter(|_| self.host == url.as_ref().and_then(authority));
        let port = url.as_ref().and_then(|url| url.port).filter(|port| *port != 443);
        let token =
            || token(host, port, &|name| std::env::var(name).ok()).map(|token| ("x-access-token".to_owned(), token));
        if let Some((username, password)) = given.or_else(token) {
            let identity = gix::sec::identity::Account { username, password, oauth_refresh_token: None };
            return Ok(Some(protocol::Outcome { identity, next: helper::NextAction::from(context.clone()) }));
        }
        self.from_helper = true;
        ask_helper(&action)
    }
}

/// Who a password is for: a host, and a port of it.
pub(super) fn authority(url: &gix::Url) -> Option<(String, Option<u16>)> {
    url.host().map(|host| (host.to_ascii_lowercase(), url.port.or((url.scheme == Scheme::Https).then_some(443))))
}

/// The token for a host, from the environment. github.com has three names for it, every other host its own.
pub(super) fn token(host: &str, port: Option<u16>, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let set = |name: &str| env(name).map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    if host.eq_ignore_ascii_case("github.com") && port.is_none() {
        return ["GITLODE_TOKEN", "GITHUB_TOKEN", "GH_TOKEN"].into_iter().find_map(set);
    }
    let name = port.map_or(host.to_owned(), |port| format!("{host}_{port}"));
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_").to_ascii_uppercase();
    set(&format!("GITLODE_TOKEN_{name}"))
}

/// Runs `git credential`, which runs the user's helpers, with every way to ask a person switched off.
fn ask_helper(action: &helper::Action) -> gix::Result<Option<protocol::Outcome>> {
    let wanted = || gix::Error::from(gix::error::unauthenticated("it wants credentials, and there are none for it"));
    let mut child = Command::new("git")
        .args(["-c", "credential.interactive=never", "credential", action.as_arg(false)])
        .envs([("GIT_TERMINAL_PROMPT", "0"), ("GIT_ASKPASS", ""), ("GCM_INTERACTIVE", "never")])
        // The configuration of a repository that happens to be the current directory isn't the user's.
        .env("GIT_DIR", "/dev/null")
        .env_remove("GIT_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|_| wanted())?;
    if let Some(mut stdin) = child.stdin.take() {
        action.send(&mut stdin).and_then(|()| stdin.flush()).ok();
    }
    let output = child.wait_with_output().map_err(gix::Error::from_error)?;
    if !action.expects_output() {
        return Ok(None);
    }
    if !output.status.success() {
        return Err(wanted());
    }
    let context = protocol::Context::from_bytes(&output.stdout, Default::default())?;
    let (Some(username), Some(password)) = (context.username.clone(), context.password.clone()) else {
        return Err(wanted());
    };
    let identity = gix::sec::identity::Account { username, password, oauth_refresh_token: None };
    Ok(Some(protocol::Outcome { identity, next: helper::NextAction::from(context) }))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{ErrorKind, classify},
        *,
    };

    #[test]
    fn a_token_is_only_for_its_host() {
        let env = |set: &'static [&'static str]| move |name: &str| set.contains(&name).then(|| name.to_owned());
        let check =
            |host, port, set, expected: Option<&str>| assert_eq!(token(host, port, &env(set)).as_deref(), expected);
        let all = &[
            "GITLODE_TOKEN",
            "GITHUB_TOKEN",
            "GH_TOKEN",
            "GITLODE_TOKEN_GIT_EXAMPLE_COM",
            "GITLODE_TOKEN_LOCALHOST_8443",
        ];
        check("github.com", None, all, Some("GITLODE_TOKEN"));
        check("github.com", None, &all[1..], Some("GITHUB_TOKEN"));
        check("github.com", None, &all[2..], Some("GH_TOKEN"));
        check("github.com", Some(8443), all, None);
        check("github.com.evil.example", None, all, None);
        check("gitlab.com", None, all, None);
        check("git.example.com", None, all, Some("GITLODE_TOKEN_GIT_EXAMPLE_COM"));
        check("git.example.com", Some(1), all, None);
        check("localhost", Some(8443), all, Some("GITLODE_TOKEN_LOCALHOST_8443"));
    }

    #[test]
    fn credentials_go_to_the_host_of_the_url_over_tls_only() {
        let mut credentials = Credentials {
            given: Some(("u".into(), "p".into())),
            host: Some(("a.invalid".into(), Some(443))),
            from_helper: false,
        };
        let given = credentials
            .answer(helper::Action::get_for_url("https://a.invalid/x"))
            .expect("an answer")
            .expect("credentials");
        assert_eq!((given.identity.username.as_str(), given.identity.password.as_str()), ("u", "p"));
        assert!(credentials.answer(given.next.clone().store()).expect("nothing to do").is_none());
        for url in ["http://a.invalid/x", "ssh://a.invalid/x", "http://a.invalid:443/x"] {
            let err = credentials.answer(helper::Action::get_for_url(url)).expect_err("a refusal");
            assert_eq!(classify(&err).0, ErrorKind::Authentication, "{url}");
        }
    }
}
