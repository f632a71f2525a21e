//! The API's answers and its types, both compared with the OpenAPI document. `EXPECTORATE=overwrite` writes the schemas of the
//! types into the document.

use std::collections::BTreeMap;

use gha_slurm_core::ports::{Clock, Store};
use gha_slurm_core::testing::Memory;
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::request::Request;
use gha_slurm_edge::testing::{DELIVERY, authorized, get};
use gha_slurm_overview::State;
use gha_slurm_scene::{Gateway, Scene};
use gha_slurm_tick::run::tick;
use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::{Value, json};

use super::{OPENAPI, Route};
use crate::Look;

/// Checks that an answer is what the document says for its route and status.
fn documented(route: &str, answer: &Answer) {
    documented_of("get", route, answer);
}

fn documented_of(method: &str, route: &str, answer: &Answer) {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let response = &document["paths"][route][method]["responses"][answer.status.to_string()];
    let schema = response["content"]["application/json"]["schema"].clone();
    assert!(schema.is_object(), "{route} has no answer {}", answer.status);
    let schema = json!({"$ref": schema["$ref"], "components": document["components"]});
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(&answer.body).map(|error| format!("{}: {error}", error.instance_path)).collect();
    assert!(errors.is_empty(), "{route}: {errors:?}\n{}", answer.body);
}

/// What the API answers whenever it does not answer 200.
#[derive(schemars::JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Error {
    /// What is wrong.
    error: String,
}

/// The schemas of all answers, and the one of each route.
fn schemas() -> (Value, BTreeMap<String, Value>) {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    // What is not described is not there: a field that is added shows at once.
    let closed = RecursiveTransform(|schema: &mut Schema| {
        if schema.get("properties").is_some() {
            schema.insert("additionalProperties".to_owned(), false.into());
        }
    });
    let mut generator = settings.with_transform(closed).into_generator();
    let of_route = |route: Route<Memory>| (format!("/{}", route.path), json!((route.schema)(&mut generator)));
    let routes = super::routes::<Memory>().into_iter().map(of_route).collect();
    generator.subschema_for::<Error>();
    super::orders::schemas(&mut generator);
    (json!(generator.take_definitions(true)), routes)
}

#[test]
fn the_document_has_the_routes_and_the_types_of_the_code() {
    let (types, routes) = schemas();
    // They are the end of the document, one a line, because the document is part of the component.
    let (before, _) = OPENAPI.split_once("\"schemas\":").unwrap();
    let lines = types.as_object().unwrap().iter().map(|(name, schema)| format!("      \"{name}\": {schema}"));
    let text = format!("{before}\"schemas\": {{\n{}\n    }}\n  }}\n}}\n", lines.collect::<Vec<_>>().join(",\n"));
    if std::env::var_os("EXPECTORATE").is_some_and(|how| how == "overwrite") {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/openapi.json"), &text).unwrap();
    }
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    assert_eq!(document["components"]["schemas"], types);
    let paths = document["paths"].as_object().unwrap();
    let (mut orders, described): (Vec<&String>, Vec<&String>) =
        paths.keys().partition(|path| super::orders::Order::of(path.trim_start_matches('/')).is_some());
    // In the document's order or by name, as other crates of the build have serde_json.
    orders.sort();
    assert_eq!(orders, ["/resume", "/revoke", "/stop"]);
    let mut served: Vec<&String> = routes.keys().collect();
    served.sort_by_key(|path| described.iter().position(|described| described == path));
    assert_eq!(described, served);
    for (path, schema) in &routes {
        let described = &document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(described, schema, "{path}");
    }
    let states = State::ALL.map(State::word);
    let parameter = &document["paths"]["/jobs"]["get"]["parameters"][0];
    assert_eq!(parameter["schema"]["enum"], json!([&["waiting"][..], &states].concat()));
}

#[test]
fn every_route_answers_as_the_document_says() {
    let scene = busy();
    for route in super::routes::<Memory>() {
        let path = route.path.replace("{job}", "2");
        let described = format!("/{}", route.path);
        // Without parameters that it needs, it says which.
        assert!(matches!(checked(&scene, &described, &format!("/api/v1/{path}")).status, 200 | 400), "{path}");
    }
}

fn checked(scene: &Scene, route: &str, target: &str) -> Answer {
    let answer = scene.get(target);
    documented(route, &answer);
    answer
}

/// Jobs in as many states as there are.
fn busy() -> Scene {
    let scene = Scene::new();
    scene.whole(1);
    scene.queue(2);
    scene.queue_with(3, json!({"labels": ["gpu", "slurm-cpus=4"]}));
    scene.queue_with(4, json!({"labels": ["gpu"]}));
    scene.start(5, "somebody-elses");
    scene.gateway(Gateway::Away);
    scene.queue(6);
    scene.gateway(Gateway::Takes);
    scene.slurm("PENDING", Some("Resources"));
    scene
}

#[test]
fn every_answer_is_as_the_document_says() {
    let scene = busy();
    for (target, jobs) in [
        ("/api/v1/jobs", 6),
        ("/api/v1/jobs?state=waiting", 4),
        ("/api/v1/jobs?state=&repository=&limit=2", 2),
        ("/api/v1/jobs?state=finished&repository=octo%2Frepo&profile=cpu", 1),
        ("/api/v1/jobs?before=1.1", 0),
        ("/api/v1/jobs?limit=99999999", 6),
    ] {
        let answer = checked(&scene, "/jobs", target);
        assert_eq!((answer.status, answer.body["jobs"].as_array().unwrap().len()), (200, jobs), "{target}");
    }
    for bad in ["state=lost", "limit=x", "limit=-1", "before=1", "before=a.b", "before=1.-1"] {
        assert_eq!(checked(&scene, "/jobs", &format!("/api/v1/jobs?{bad}")).status, 400, "{bad}");
    }
    for job in 1..=6 {
        assert_eq!(checked(&scene, "/jobs/{job}", &format!("/api/v1/jobs/{job}")).status, 200);
    }
    assert_eq!(scene.get("/api/v1/jobs/2").body["slurm"]["reason"], "Resources");
    for unknown in ["7", "x", "-1", "18446744073709551616", "1/2"] {
        assert_eq!(checked(&scene, "/jobs/{job}", &format!("/api/v1/jobs/{unknown}")).status, 404, "{unknown}");
    }
    assert_eq!(checked(&scene, "/summary", "/api/v1/summary").body["states"]["finished"], 1);
    assert_eq!(checked(&scene, "/profiles", "/api/v1/profiles").body["profiles"][1]["max_running"], 1);
    assert_eq!(checked(&scene, "/explain", "/api/v1/explain?repository=octo/repo&id=2").status, 200);
    for bad in ["", "?repository=octo&id=1", "?repository=octo/repo", "?repository=octo/repo&id=x"] {
        assert_eq!(checked(&scene, "/explain", &format!("/api/v1/explain{bad}")).status, 400, "{bad}");
    }
    assert_eq!(scene.get("/api/v1/nothing").status, 404);
}

#[test]
fn jobs_and_clusters_are_told_where_clusters_fetch() {
    let scene = Scene::fetching(&["alps", "eiger"]);
    let asks = |said: &Value| scene.exchange("alps", said);
    scene.queue(1);
    asks(&json!({"gateway": "login1", "room": 1, "queue": {"pending": 0, "running": 0}}));
    let submitted = json!({"launch": "1-1", "news": "submitted", "job_id": "17"});
    let pending = json!({
        "launch": "1-1", "news": "state", "job_id": "17", "state": "PENDING", "reason": "Priority",
        "starts_in": 840, "position": 4,
    });
    let now = scene.platform.unix_seconds();
    asks(&json!({"gateway": "login1", "reports": [submitted, pending]}));
    scene.queue(2);
    scene.pass(30);
    let clusters = checked(&scene, "/clusters", "/api/v1/clusters").body;
    let login1 = json!({"gateway": "login1", "heard_at": now, "queue": {"pending": 0, "running": 0}});
    assert_eq!(
        clusters["clusters"][0],
        json!({"cluster": "alps", "reach": "fetch", "heard_at": now, "silent": false, "silent_after": 600, "waiting": 1,
               "queue": {"pending": 0, "running": 0}, "gateways": [login1]})
    );
    let eiger = &clusters["clusters"][1];
    assert_eq!((&eiger["heard_at"], &eiger["silent"], &eiger["queue"]), (&Value::Null, &json!(true), &Value::Null));
    assert_eq!(checked(&scene, "/summary", "/api/v1/summary").body["clusters"], clusters["clusters"]);

    let said = json!({"state": "PENDING", "reason": "Priority", "starts_at": now + 840, "position": 4, "at": now});
    let job = checked(&scene, "/jobs/{job}", "/api/v1/jobs/1").body;
    let summary = &job["summary"];
    assert_eq!((&summary["cluster"], &summary["slurm_said"]), (&json!("alps"), &said));
    assert_eq!((&job["launches"][0]["cluster"], &job["launches"][0]["fetched_by"]), (&json!("alps"), &json!("login1")));
    // As it would be of a gateway that is asked.
    assert_eq!(
        (&job["slurm"]["starts_in"], &job["slurm"]["position"], &job["slurm_at"]),
        (&json!(810), &json!(4), &json!(now))
    );

    let listed = |query: &str| checked(&scene, "/jobs", &format!("/api/v1/jobs{query}")).body["jobs"].clone();
    assert_eq!((&listed("")[1]["slurm_said"], &listed("?state=offered")[0]["job"]), (&said, &json!(2)));
    assert_eq!(listed("?cluster=alps").as_array().unwrap().len(), 2);
    assert_eq!(listed("?cluster=eiger"), json!([]));
    scene.platform.set_variable("clusters", Some("[[cluster]]"));
    assert_eq!(checked(&scene, "/clusters", "/api/v1/clusters").status, 500);
}

#[test]
fn what_a_gateway_that_is_called_expects_is_told_now() {
    let scene = busy();
    scene.slurm_says(json!({"job_id": "17", "state": "PENDING", "reason": "Priority", "starts_in": 60, "position": 2}));
    let job = checked(&scene, "/jobs/{job}", "/api/v1/jobs/2").body;
    assert_eq!((&job["slurm"]["starts_in"], &job["slurm_at"]), (&json!(60), &json!(scene.platform.unix_seconds())));
    assert_eq!(checked(&scene, "/clusters", "/api/v1/clusters").body, json!({"complete": true, "clusters": []}));
}

#[test]
fn a_gateway_that_is_away_hides_nothing_else() {
    let scene = busy();
    scene.gateway(Gateway::Away);
    let answer = checked(&scene, "/jobs/{job}", "/api/v1/jobs/2");
    assert_eq!(answer.body["slurm"], Value::Null);
    assert!(answer.body["slurm_problem"].as_str().unwrap().contains("cannot be reached"), "{}", answer.body);
    assert_eq!(answer.body["summary"]["state"], "pending");
}

#[test]
fn a_stop_is_told_of_jobs_and_of_the_whole() {
    let scene = Scene::new();
    assert_eq!(checked(&scene, "/summary", "/api/v1/summary").body["stopped"], false);
    assert_eq!(order(&scene, "stop", ADMIN, "").status, 200);
    scene.queue(1);
    let job = checked(&scene, "/jobs/{job}", "/api/v1/jobs/1").body["summary"].clone();
    let why = job["why"].as_str().unwrap();
    assert!(job["state"] == "unsubmitted" && why.ends_with("gha-slurm resume"), "{job}");
    assert_eq!(checked(&scene, "/jobs", "/api/v1/jobs").body["jobs"][0]["why"], why);
    let explained = checked(&scene, "/explain", "/api/v1/explain?repository=octo/repo&id=1");
    assert_eq!(explained.body["jobs"][0]["cause"], "stopped");
    assert_eq!(checked(&scene, "/summary", "/api/v1/summary").body["stopped"], true);
}

#[test]
fn only_the_admin_token_opens_it() {
    let scene = busy();
    for token in [
        "",
        "Bearer",
        "Bearer wrong",
        "Basic an-admin-token-of-32-characters!",
        "Bearer an-admin-token-of-32-characters!!",
    ] {
        let mut request = get("/api/v1/jobs");
        request.headers = vec![("authorization".to_owned(), token.as_bytes().to_vec())];
        let answer = crate::routes::answer(&scene.platform, &request);
        documented("/jobs", &answer);
        assert_eq!(answer.status, 401, "{token:?}");
    }
    let mut without = get("/api/v1/jobs");
    without.headers.clear();
    assert_eq!(crate::routes::answer(&scene.platform, &without).status, 401);
    let mut description = get("/api/v1/openapi.json");
    description.headers.clear();
    let answer = crate::routes::answer(&scene.platform, &description);
    assert_eq!((answer.status, answer.content().0), (200, "application/json"));
    let mut post = get("/api/v1/jobs");
    post.method = "POST".to_owned();
    assert_eq!(crate::routes::answer(&scene.platform, &post).status, 405);
    // The log says nothing of what was shown.
    let line = scene.get("/api/v1/jobs").log_line("console");
    assert!(!line.contains("octo") && line.contains("\"level\":\"debug\""), "{line}");
    scene.platform.set_variable("admin_token", Some(""));
    let off = scene.get("/api/v1/jobs");
    documented("/jobs", &off);
    assert!(off.status == 403 && off.body["error"].as_str().unwrap().contains("admin_token"), "{}", off.body);
}

#[test]
fn a_store_that_fails_is_a_reason_to_ask_again() {
    let scene = busy();
    scene.platform.lives.set(Some(0));
    let answer = checked(&scene, "/jobs", "/api/v1/jobs");
    assert_eq!(answer.status, 503);
}

#[test]
fn installations_answers_as_the_original_did() {
    let scene = Scene::new();
    let ask = |url: &str| scene.get(&format!("/gha/installations{url}"));
    assert_eq!(ask("").status, 403);
    let installed = ask("?url=https%3A%2F%2Fgithub.com%2Focto%2Frepo");
    assert_eq!((installed.status, installed.body), (200, json!(true)));
    scene.github("/repos/octo/other/installation", 404, json!({"message": "Not Found"}));
    let absent = ask("?url=https://github.com/octo/other/");
    assert_eq!((absent.status, absent.body), (200, json!(false)));
    for bad in ["?url=", "?url=octo/repo", "?url=https://github.com/octo", "?url=https://github.com/a/b/c"] {
        assert_eq!(ask(bad).status, 400, "{bad}");
    }
    scene.github("/repos/octo/down/installation", 502, json!({}));
    assert_eq!(ask("?url=https://github.com/octo/down").status, 503);
    let mut stranger = get("/gha/installations?url=https://github.com/octo/repo");
    stranger.headers.clear();
    assert_eq!(crate::routes::answer(&scene.platform, &stranger).status, 401);
}

#[test]
fn the_last_deliveries_are_kept_by_the_tick_with_their_jobs() {
    let scene = Scene::new();
    let deliveries = || checked(&scene, "/deliveries", "/api/v1/deliveries").body;
    assert_eq!(deliveries(), json!({"arrival": null, "read_at": 0, "deliveries": []}));
    scene.queue(2);
    let mut listed = vec![
        json!({"id": 90, "guid": DELIVERY, "status": "OK", "status_code": 202, "delivered_at": "2027-01-15T08:00:00Z",
               "event": "workflow_job", "action": "queued", "redelivery": true}),
        json!({"id": 89, "guid": "<script>", "status": "failed to connect", "event": "ping", "action": null}),
    ];
    listed.extend((1..=88).rev().map(|id| json!({"id": id, "guid": "x-1", "status": "OK", "event": "push"})));
    scene.github("/app/hook/deliveries", 200, json!(listed));
    tick(&scene.platform, &authorized("an-admin-token-of-32-characters!"));
    let kept = deliveries();
    assert_eq!(kept["deliveries"].as_array().unwrap().len(), 50, "the newest");
    assert_eq!((&kept["arrival"]["mode"], &kept["arrival"]["read_at"]), (&json!("receive"), &kept["read_at"]));
    let [first, second] = [&kept["deliveries"][0], &kept["deliveries"][1]];
    assert_eq!((&first["job"], &first["status_code"]), (&json!(2), &json!(202)));
    assert_eq!((first["at"].as_u64(), &first["redelivery"]), (Some(1_800_000_000), &json!(true)));
    assert_eq!((&second["guid"], &second["job"], &second["at"]), (&Value::Null, &Value::Null, &json!(0)));
    scene.platform.set("gha-slurm/1/github/deliveries", b"garbage").unwrap();
    assert_eq!(deliveries()["read_at"], 0);
}

#[test]
fn names_are_shown_without_what_would_trick_a_reader() {
    let scene = Scene::new();
    let names = json!({"name": "<b>build\u{202e}", "workflow_name": "CI\u{1b}[2J", "head_branch": null});
    scene.queue_with(2, names);
    let job = checked(&scene, "/jobs/{job}", "/api/v1/jobs/2").body["summary"].clone();
    assert_eq!((&job["name"], &job["workflow"], &job["branch"]), (&json!("<b>build"), &json!("CI[2J"), &Value::Null));
    let explained = checked(&scene, "/explain", "/api/v1/explain?repository=octo/repo&id=2").body;
    assert_eq!(explained["jobs"][0]["name"], "<b>build");
}

const ADMIN: &str = "Bearer an-admin-token-of-32-characters!";

fn order(scene: &Scene, order: &str, token: &str, body: &str) -> Answer {
    let (target, body) = (format!("/api/v1/{order}"), body.as_bytes().to_vec());
    let mut request = Request { target, body, ..authorized(token) };
    request.headers.push(("spin-client-addr".to_owned(), b"192.0.2.1:1000".to_vec()));
    let answer = crate::routes::answer(&scene.platform, &request);
    documented_of("post", &format!("/{order}"), &answer);
    answer
}

#[test]
fn a_stop_keeps_jobs_and_refuses_what_is_out_and_after_it_they_are_launched() {
    for body in ["", r#"{"repository": "Octo/Repo"}"#] {
        let scene = Scene::new();
        scene.queue(1);
        assert_eq!(order(&scene, "stop", ADMIN, body).status, 200);
        let refused = scene.redeem("1-1");
        assert_eq!(refused.status, 410, "{}", refused.body);
        assert!(refused.body["error"].as_str().unwrap().contains("the operator stopped"), "{}", refused.body);
        let kept = scene.queue(2);
        assert_eq!((kept.status, kept.body["decision"].as_str()), (202, Some("deferred")), "{}", kept.body);
        scene.pass(60);
        assert_eq!(tick(&scene.platform, &authorized(ADMIN)).body["launched"], 0);
        let other = scene.queue_in(3, "octo/other");
        assert_eq!(other.body["decision"], if body.is_empty() { "deferred" } else { "launched" });

        assert_eq!(order(&scene, "resume", ADMIN, body).status, 200);
        for _ in 0..3 {
            scene.pass(60);
            tick(&scene.platform, &authorized(ADMIN));
        }
        assert_eq!(scene.redeem("1-1").status, 410, "its Slurm job ended");
        for launch in ["1-2", "2-1"] {
            assert_eq!(scene.redeem(launch).status, 200, "{launch}");
        }
    }
}

#[test]
fn revoking_refuses_every_token_that_is_out() {
    let scene = Scene::new();
    scene.queue(1);
    assert_eq!(order(&scene, "revoke", ADMIN, "").status, 200);
    assert_eq!(scene.redeem("1-1").status, 401);
    scene.queue(2);
    assert_eq!(scene.redeem("2-1").status, 200, "the next one is good");
}

#[test]
fn orders_take_the_admin_token_alone() {
    let scene = Scene::new();
    scene.platform.set_variable("read_token", Some("a-token-that-may-read"));
    for what in ["stop", "resume", "revoke"] {
        assert_eq!(order(&scene, what, "Bearer a-token-that-may-read", "").status, 401, "{what}");
        let get = crate::routes::answer(&scene.platform, &get(&format!("/api/v1/{what}")));
        documented_of("post", &format!("/{what}"), &get);
        assert_eq!(get.status, 405);
        for bad in ["x", "[]", r#"{"repository": "x"}"#, r#"{"repo": "octo/repo"}"#] {
            let answer = order(&scene, what, ADMIN, bad);
            assert_eq!(answer.status, 400, "{what} {bad}");
        }
    }
    for what in ["stop", "resume", "revocation"] {
        assert_eq!(audited(&scene, what), [Value::Null; 0], "{what}");
    }
    scene.queue(1);
    assert_eq!(scene.redeem("1-1").status, 200, "nothing was done");
}

/// The records of one kind.
fn audited(scene: &Scene, event: &str) -> Vec<Value> {
    let lines = scene.platform.audited.borrow();
    let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["audit"] == event).collect()
}

#[test]
fn orders_are_recorded_once_with_their_scope_and_their_address() {
    let scene = Scene::new();
    let at = scene.platform.unix_seconds();
    let of = |event: &str| json!({"audit": event, "client": "192.0.2.1", "time": at, "level": "info"});
    for what in ["stop", "resume"] {
        for body in ["", r#"{"repository": "octo/repo"}"#] {
            assert_eq!(order(&scene, what, ADMIN, body).status, 200);
        }
        let mut of_one = of(what);
        of_one["repository"] = "octo/repo".into();
        assert_eq!(audited(&scene, what), [of(what), of_one]);
    }
    assert_eq!(order(&scene, "revoke", ADMIN, "").status, 200);
    assert_eq!(audited(&scene, "revocation"), [of("revocation")]);
    assert_eq!(scene.platform.audited.borrow().len(), 5, "and nothing else");
}

#[test]
fn a_launch_token_that_came_again_is_told_with_its_time_and_recorded_once() {
    let scene = Scene::new();
    scene.queue(1);
    assert_eq!(scene.redeem("1-1").status, 200);
    let job = || checked(&scene, "/jobs/{job}", "/api/v1/jobs/1").body;
    assert_eq!(job()["launches"][0]["replayed_at"], Value::Null);
    assert_eq!(audited(&scene, "replay"), [Value::Null; 0]);
    scene.pass(30);
    let at = scene.platform.unix_seconds();
    for _ in 0..3 {
        assert_eq!(scene.redeem("1-1").status, 409);
        scene.pass(90);
    }
    let job = job();
    assert_eq!(job["launches"][0]["replayed_at"], at, "the first time");
    let timeline = job["timeline"].as_array().unwrap().iter();
    let replayed: Vec<&Value> = timeline.filter(|moment| moment["event"] == "replayed").collect();
    assert_eq!(replayed, [&json!({"at": at, "event": "replayed", "launch": "1-1", "detail": null})]);
    let record = json!({"audit": "replay", "job": 1, "launch": "1-1", "time": at, "level": "info"});
    assert_eq!(audited(&scene, "replay"), [record]);
    // Each launch has its own.
    scene.queue(2);
    assert_eq!([scene.redeem("2-1").status, scene.redeem("2-1").status], [200, 409]);
    assert_eq!(audited(&scene, "replay")[1]["launch"], "2-1");
}

#[test]
fn who_queued_a_job_is_in_the_record_of_its_launch() {
    let scene = Scene::new();
    scene.queue_by(1, &json!({"login": "octocat", "id": 583_231}));
    // Nobody is named by these.
    for (job, sender) in [(2, json!(null)), (3, json!({})), (4, json!({"login": null}))] {
        assert_eq!(scene.queue_by(job, &sender).status, 200, "{sender}");
    }
    // It is known as well when the launch is accepted later.
    scene.gateway(Gateway::Away);
    scene.queue_by(5, &json!({"login": "hubot\u{1b}[2J"}));
    scene.gateway(Gateway::Takes);
    scene.pass(60);
    assert_eq!(tick(&scene.platform, &authorized(ADMIN)).body["launched"], 1);
    let launches = audited(&scene, "launch");
    let people: Vec<Option<&str>> = launches.iter().map(|line| line["person"].as_str()).collect();
    assert_eq!(people, [Some("octocat"), None, None, None, Some("hubot[2J")]);
    assert!(launches[1].get("person").is_none(), "{}", launches[1]);
}

#[test]
fn launches_and_redemptions_are_recorded_once_with_who_and_what() {
    let scene = Scene::new();
    scene.whole(1);
    let (launches, redemptions) = (audited(&scene, "launch"), audited(&scene, "redemption"));
    assert_eq!((launches.len(), redemptions.len()), (1, 1), "{launches:?} {redemptions:?}");
    assert_eq!(
        (&launches[0]["repository"], &launches[0]["launch"], &launches[0]["slurm_job"]),
        (&json!("octo/repo"), &json!("1-1"), &json!("1"))
    );
    assert_eq!(redemptions[0]["credential"], "registration_token");
}
