use gha_slurm_core::testing::Memory;
use url::Url;

use super::origin::{behind_tls, same_origin};
use super::*;

const TOKEN: &str = "an-admin-token-of-28-letters!";

fn sessions(platform: &Memory) -> Sessions<'_, Memory> {
    Sessions::new(platform, Secret::new(TOKEN), true)
}

fn request(headers: &[(&str, &str)]) -> Request {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    Request { method: "GET".to_owned(), target: "/".to_owned(), headers, body: Vec::new() }
}

/// What a browser sends back of what was set.
fn cookie(set: &str) -> String {
    set.split(';').next().unwrap().to_owned()
}

fn client(request: &Request) -> Client {
    Client::of(&Memory::new(), request).unwrap()
}

fn log_in(platform: &Memory, headers: &[(&str, &str)], given: &str) -> LogIn {
    let request = request(headers);
    sessions(platform).log_in(&request, client(&request), given).unwrap()
}

fn logged_in(platform: &Memory) -> (String, String) {
    match log_in(platform, &[], TOKEN) {
        LogIn::Welcome(set) => (cookie(&set[0]), cookie(&set[1])),
        other => panic!("{other:?}"),
    }
}

fn holds(platform: &Memory, cookie: &str) -> bool {
    sessions(platform).of(&request(&[("cookie", cookie)])).unwrap().is_some()
}

#[test]
fn a_session_lasts_a_day_of_work() {
    let platform = Memory::new();
    let (session, _) = logged_in(&platform);
    assert!(holds(&platform, &session) && holds(&platform, &format!("a=b; {session}; c=d")));
    platform.seconds.set(platform.seconds.get() + LIFETIME_SECONDS - 1);
    assert!(holds(&platform, &session));
    platform.seconds.set(platform.seconds.get() + 1);
    assert!(!holds(&platform, &session));
}

#[test]
fn the_cookies_are_as_strict_as_can_be() {
    let platform = Memory::new();
    let LogIn::Welcome(set) = log_in(&platform, &[], TOKEN) else { panic!() };
    for cookie in &set {
        for part in ["__Host-", "; HttpOnly", "; SameSite=Strict", "; Secure", "; Path=/;", "; Max-Age="] {
            assert!(cookie.contains(part), "{part}: {cookie}");
        }
    }
    let plain = Sessions::new(&platform, Secret::new(TOKEN), false);
    let LogIn::Welcome(set) = plain.log_in(&request(&[]), client(&request(&[])), TOKEN).unwrap() else { panic!() };
    assert!(set.iter().all(|cookie| !cookie.contains("Secure") && !cookie.contains("__Host-")), "{set:?}");
}

#[test]
fn a_forged_cookie_is_no_session() {
    let platform = Memory::new();
    assert!(!holds(&platform, "__Host-gha-slurm-session=1.2.3"), "before there is a key");
    let (session, browser) = logged_in(&platform);
    let (name, value) = session.split_once('=').unwrap();
    let [begun, nonce, signature]: [&str; 3] = value.split('.').collect::<Vec<_>>().try_into().unwrap();
    let later = begun.parse::<u64>().unwrap() + 1;
    let other_nonce = if nonce.starts_with('0') { nonce.replacen('0', "1", 1) } else { format!("0{}", &nonce[1..]) };
    for forged in [
        format!("{later}.{nonce}.{signature}"),
        format!("{begun}.{other_nonce}.{signature}"),
        format!("{begun}.{nonce}.{}", signature.to_uppercase()),
        format!("{begun}.{nonce}."),
        format!("{begun}.{nonce}"),
        format!("+{begun}.{nonce}.{signature}"),
        format!("{begun}.{}.{signature}", nonce.to_uppercase()),
        format!("{begun}..{signature}"),
        String::new(),
        "..".to_owned(),
        "ä".to_owned(),
        "1".repeat(1 << 16),
        browser.split_once('=').unwrap().1.to_owned(),
    ] {
        assert!(!holds(&platform, &format!("{name}={forged}")), "{forged}");
    }
    assert!(!holds(&platform, &value.replace("__Host-", "")));
    assert!(holds(&platform, &format!("{name}=forged; {session}")), "beside a foreign one");
}

#[test]
fn another_admin_token_ends_every_session() {
    let platform = Memory::new();
    let (session, _) = logged_in(&platform);
    let changed = Sessions::new(&platform, Secret::new("another-admin-token-of-some-size"), true);
    assert!(changed.of(&request(&[("cookie", &session)])).unwrap().is_none());
}

#[test]
fn a_session_from_the_future_is_none() {
    let platform = Memory::new();
    let (session, _) = logged_in(&platform);
    platform.seconds.set(platform.seconds.get() - 120);
    assert!(holds(&platform, &session), "of a replica whose clock is ahead");
    platform.seconds.set(platform.seconds.get() - 1);
    assert!(!holds(&platform, &session));
}

#[test]
fn a_copied_cookie_dies_with_the_log_out() {
    let platform = Memory::new();
    let (session, _) = logged_in(&platform);
    let (other, _) = logged_in(&platform);
    platform.seconds.set(platform.seconds.get() + 1);
    let current = sessions(&platform).of(&request(&[("cookie", &session)])).unwrap().unwrap();
    let set = sessions(&platform).log_out(&current, client(&request(&[]))).unwrap();
    assert!(set[0].contains("Max-Age=0"), "{set:?}");
    assert!(!holds(&platform, &session));
    assert!(holds(&platform, &other), "who logged in elsewhere stays");
}

#[test]
fn wrong_tokens_are_limited_and_right_ones_are_not() {
    let platform = Memory::new();
    for _ in 0..20 {
        logged_in(&platform);
    }
    for given in ["", "x", "an-admin-token-of-28-letters", "an-admin-token-of-28-letters!!", TOKEN] {
        let came = log_in(&platform, &[], given);
        assert_eq!(matches!(came, LogIn::Wrong), given != TOKEN, "{given:?}: {came:?}");
    }
    assert!(matches!(log_in(&platform, &[], "x"), LogIn::Wrong));
    let LogIn::Limited { seconds } = log_in(&platform, &[], TOKEN) else { panic!() };
    assert!((1..=60).contains(&seconds));
    platform.seconds.set(platform.seconds.get() + seconds);
    logged_in(&platform);
}

#[test]
fn strangers_do_not_keep_a_known_browser_out_or_fill_the_store() {
    let platform = Memory::new();
    let (_, browser) = logged_in(&platform);
    let stranger = ("spin-client-addr", "192.0.2.1:1000");
    for minute in 0..3 {
        for network in 0..4000 {
            let address = format!("[2001:db8:{minute}:{network:x}::1]:1000");
            log_in(&platform, &[("spin-client-addr", &address)], "wrong");
        }
        let came = log_in(&platform, &[stranger], TOKEN);
        assert!(matches!(came, LogIn::Limited { .. }), "{came:?}");
        let known = log_in(&platform, &[stranger, ("cookie", &browser)], TOKEN);
        assert!(matches!(known, LogIn::Welcome(_)), "{known:?}");
        let forged = log_in(&platform, &[stranger, ("cookie", &format!("{browser}0"))], TOKEN);
        assert!(matches!(forged, LogIn::Limited { .. }), "{forged:?}");
        platform.seconds.set(platform.seconds.get() + 60);
    }
    assert!(platform.keys().len() <= 3 * 256 + 8, "{}", platform.keys().len());
}

#[test]
fn log_ins_and_refused_ones_are_recorded_with_their_address() {
    let platform = Memory::new();
    for (given, recorded) in [("wrong", "\"audit\":\"refused\""), (TOKEN, "\"audit\":\"log_in\"")] {
        log_in(&platform, &[("spin-client-addr", "192.0.2.1:1000")], given);
        let line = platform.audited.borrow_mut().pop().unwrap();
        assert!(line.contains(recorded) && line.contains("\"client\":\"192.0.2.1\""), "{line}");
        assert!(!line.contains(TOKEN), "{line}");
    }
}

#[test]
fn only_our_own_pages_may_post() {
    let public = Url::parse("https://app.example/slurm/").unwrap();
    for (headers, own) in [
        (&[("sec-fetch-site", "same-origin"), ("origin", "https://elsewhere.example")][..], true),
        (&[("sec-fetch-site", "same-site"), ("origin", "https://app.example")], false),
        (&[("sec-fetch-site", "cross-site")], false),
        (&[("sec-fetch-site", "none")], false),
        (&[("origin", "https://app.example"), ("host", "127.0.0.1:3000")], true),
        (&[("origin", "http://10.0.0.1:3000"), ("host", "10.0.0.1:3000")], true),
        (&[("origin", "http://10.0.0.1:3001"), ("host", "10.0.0.1:3000")], false),
        (&[("origin", "http://app.example"), ("host", "127.0.0.1:3000")], false),
        (&[("origin", "null"), ("host", "app.example")], false),
        (&[("origin", "https://app.example.evil"), ("host", "app.example")], false),
        (&[("host", "app.example")], false),
    ] {
        assert_eq!(same_origin(&request(headers), Some(&public)), own, "{headers:?}");
    }
}

#[test]
fn tls_is_known_by_the_public_address_or_by_the_proxy() {
    let [tls, plain] = ["https://app.example", "http://10.0.0.1:3000"].map(|url| Url::parse(url).unwrap());
    assert!(behind_tls(&request(&[]), Some(&tls)));
    assert!(!behind_tls(&request(&[]), Some(&plain)) && !behind_tls(&request(&[]), None));
    assert!(behind_tls(&request(&[("x-forwarded-proto", "https")]), Some(&plain)));
}
