//! Runners of organizations: which group, by which token, and what is told when there is none.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::OnceLock;

use jwt_simple::prelude::RS256KeyPair;
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::identity::InstallationId;
use crate::ledger::FailureKind;
use crate::ports::{HttpMethod, HttpRequest, HttpResponse, SendError};
use crate::settings::GitHubSettings;
use crate::testing::{Memory, answer};

const LAUNCH: LaunchId = LaunchId { job: JobId(1), number: 1 };
const BUDGET: Duration = Duration::from_secs(20);

fn key() -> &'static str {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| RS256KeyPair::generate(2048).unwrap().to_pem().unwrap())
}

struct Group {
    organization: &'static str,
    id: u64,
    name: String,
    default: bool,
    /// The one repository that may use it; `None` lets all.
    open_to: Option<&'static str>,
}

/// A GitHub with organizations. Repository 7 has this name.
struct World {
    repository: &'static str,
    groups: Vec<Group>,
    jit: bool,
}

impl World {
    fn add(&mut self, organization: &'static str, id: u64, name: &str) {
        self.groups.push(Group { organization, id, name: name.to_owned(), default: id == 1, open_to: None });
    }

    fn answer(&self, request: &HttpRequest) -> Result<HttpResponse, SendError> {
        let query = |wanted: &str| {
            request.url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
        };
        let path = request.url.path().trim_start_matches("/api/v3");
        let not_found = || answer(404, &json!({"message": "Not Found"}));
        if path.ends_with("/access_tokens") {
            return answer(201, &json!({"token": "ghs_x", "expires_at": "2027-01-20T09:00:00Z"}));
        }
        if path == "/repositories/7" {
            return answer(200, &json!({"id": 7, "full_name": self.repository}));
        }
        let Some((organization, call)) = path.strip_prefix("/orgs/").and_then(|rest| rest.split_once('/')) else {
            return not_found();
        };
        let of: Vec<&Group> = self.groups.iter().filter(|group| group.organization == organization).collect();
        if of.is_empty() {
            return not_found();
        }
        match (request.method, call) {
            (HttpMethod::Get, "actions/runner-groups") => {
                let visible = query("visible_to_repository");
                let shown = of.into_iter().filter(|group| match (&visible, group.open_to) {
                    (Some(repository), Some(only)) => repository == only,
                    _ => true,
                });
                let page: usize = query("page").unwrap().parse().unwrap();
                let shown = shown.skip((page - 1) * 100).take(100);
                let shown = shown.map(|group| json!({"id": group.id, "name": group.name, "default": group.default}));
                answer(200, &json!({"total_count": 0, "runner_groups": shown.collect::<Vec<_>>()}))
            }
            (HttpMethod::Post, "actions/runners/generate-jitconfig") if self.jit => {
                let asked: Value = serde_json::from_slice(&request.body).unwrap();
                match of.iter().any(|group| json!(group.id) == asked["runner_group_id"]) {
                    true => answer(201, &json!({"runner": {"id": 500}, "encoded_jit_config": "eyJ"})),
                    false => not_found(),
                }
            }
            (HttpMethod::Post, "actions/runners/registration-token") => {
                answer(201, &json!({"token": "AX", "expires_at": "2027-01-20T09:00:00Z"}))
            }
            (HttpMethod::Delete, "actions/runners/500") => {
                Ok(HttpResponse { status: 204, headers: Vec::new(), body: Vec::new() })
            }
            _ => not_found(),
        }
    }
}

struct Scene {
    platform: Memory,
    world: Rc<RefCell<World>>,
    api: &'static str,
}

impl Scene {
    /// The repository octo/sim, and an organization with a default group.
    fn new() -> Self {
        let platform = Memory::configured();
        platform.set_variable("github_private_key", Some(key()));
        let mut world = World { repository: "octo/sim", groups: Vec::new(), jit: true };
        world.add("octo", 1, "Default");
        let world = Rc::new(RefCell::new(world));
        let seen = Rc::clone(&world);
        platform.serve(move |_, request| seen.borrow().answer(request));
        Self { platform, world, api: "https://api.github.com/" }
    }

    /// With these groups besides.
    fn with(groups: &[(&'static str, u64, &str)]) -> Self {
        let scene = Self::new();
        for (organization, id, name) in groups {
            scene.world.borrow_mut().add(organization, *id, name);
        }
        scene
    }

    fn ask<T>(
        &self,
        (id, name, group): (u64, &str, Option<&str>),
        call: impl Fn(&Credentials<'_, Memory>, Reach<'_>) -> Result<T, GitHubError>,
    ) -> Result<T, GitHubError> {
        let settings = GitHubSettings { app_id: "123456".to_owned(), api: Url::parse(self.api).unwrap() };
        let github = GitHub::new(&self.platform, settings, BUDGET);
        let name = name.to_owned().try_into().unwrap();
        let registered_at = RegisteredAt::Organization { group: group.map(str::to_owned) };
        let installation = Some(InstallationId(9));
        let reach = Reach { id: RepositoryId(id), name: &name, installation, registered_at: &registered_at };
        call(&Credentials::new(&self.platform, &github), reach)
    }

    fn runner(&self, of: (u64, &str, Option<&str>)) -> Result<RunnerId, GitHubError> {
        let labels = ["slurm"].iter().collect();
        let made = self.ask(of, |credentials, reach| credentials.jit_config(reach, LAUNCH, &labels))?;
        Ok(made.runner.unwrap())
    }

    /// A runner of octo/sim in this group of octo.
    fn in_group(&self, group: Option<&str>) -> Result<RunnerId, GitHubError> {
        self.runner((7, "octo/sim", group))
    }

    /// The bodies of calls whose path ends so.
    fn sent(&self, end: &str) -> Vec<Value> {
        let sent = self.platform.sent.borrow();
        let of = sent.iter().filter(|request| request.url.path().ends_with(end));
        of.map(|request| serde_json::from_slice(&request.body).unwrap_or_default()).collect()
    }

    /// The groups that runners were asked for in.
    fn groups(&self) -> Vec<u64> {
        self.sent("/generate-jitconfig").iter().map(|body| body["runner_group_id"].as_u64().unwrap()).collect()
    }

    fn pass(&self, seconds: u64) {
        self.platform.seconds.set(self.platform.seconds.get() + seconds);
    }
}

#[test]
fn a_runner_of_an_organization_takes_no_permission_of_a_repository() {
    let scene = Scene::with(&[("octo", 3, "hpc")]);
    assert_eq!(scene.in_group(Some("hpc")), Ok(RunnerId(500)));
    let permissions = json!({"organization_self_hosted_runners": "write", "metadata": "read"});
    assert_eq!(scene.sent("/access_tokens"), [json!({"permissions": permissions})]);
    assert_eq!(scene.groups(), [3]);
    let of = (7, "octo/sim", Some("hpc"));
    assert!(scene.ask(of, |credentials, reach| credentials.remove_runner(reach, RunnerId(500))).is_ok());
    let token = |group| scene.ask((7, "octo/sim", group), |credentials, reach| credentials.registration_token(reach));
    assert!(token(None).is_ok());
    let refused = token(Some("hpc")).unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::GroupNeedsJit), "its runner may be in any group");
    assert!(refused.told().starts_with("a registration token is not bound to the runner group 'hpc': let"));
    let sent = scene.platform.sent.borrow();
    let paths: Vec<&str> = sent.iter().map(|request| request.url.path()).collect();
    let about = "/orgs/octo/actions/runner";
    assert!(paths.iter().all(|path| path.ends_with("/access_tokens") || path.starts_with(about)), "{paths:?}");
    assert_eq!(paths.len(), 5, "one token, one list of groups: {paths:?}");
}

#[test]
fn a_group_is_asked_for_again_after_ten_minutes_and_when_the_app_loses_the_repository() {
    let scene = Scene::with(&[("octo", 3, "hpc")]);
    let asked = || scene.sent("/runner-groups").len();
    for (seconds, expected) in [(0, 1), (599, 1), (1, 2)] {
        scene.pass(seconds);
        scene.in_group(Some("hpc")).unwrap();
        assert_eq!(asked(), expected);
    }
    // Each name is kept by itself.
    for _ in 0..2 {
        scene.in_group(None).unwrap();
        scene.in_group(Some("hpc")).unwrap();
        assert_eq!(asked(), 3);
    }
    forget(&scene.platform, &[RepositoryId(7)]).unwrap();
    scene.in_group(Some("hpc")).unwrap();
    assert_eq!(asked(), 4);
}

#[test]
fn a_group_that_is_not_there_or_not_open_is_told_and_may_be_corrected_at_once() {
    let scene = Scene::new();
    let error = scene.in_group(Some("hpc\"\u{1b}[31m")).unwrap_err();
    assert_eq!((error.reason(), error.kind()), (Some(Reason::NoGroup), FailureKind::Refused));
    let told = error.told();
    assert!(told.starts_with("the organization octo has no runner group 'hpc'[31m': create it"), "{told}");
    assert!(error.to_string().contains("the organization octo has no runner group"), "{error}");

    let hpc = Group { organization: "octo", id: 3, name: "hpc".to_owned(), default: false, open_to: Some("other") };
    scene.world.borrow_mut().groups.push(hpc);
    let error = scene.in_group(Some("hpc")).unwrap_err();
    assert_eq!(error.reason(), Some(Reason::GroupClosed));
    let told = error.told();
    assert!(told.contains("'hpc' of the organization octo is not open to octo/sim: in the organization's"), "{told}");
    assert!(scene.groups().is_empty(), "no runner that gets no job");

    scene.world.borrow_mut().groups[1].open_to = Some("sim");
    assert_eq!((scene.in_group(Some("HPC")), scene.groups()), (Ok(RunnerId(500)), vec![3]));
}

#[test]
fn a_group_that_was_made_anew_is_found_by_the_refusal_of_the_old_one() {
    let scene = Scene::with(&[("octo", 3, "hpc")]);
    scene.in_group(Some("hpc")).unwrap();
    scene.world.borrow_mut().groups[1].id = 4;
    assert_eq!(scene.in_group(Some("hpc")), Ok(RunnerId(500)));
    assert_eq!(scene.groups(), [3, 3, 4]);
    scene.world.borrow_mut().groups.pop();
    assert_eq!(scene.in_group(Some("hpc")).unwrap_err().reason(), Some(Reason::NoGroup));
}

#[test]
fn groups_of_one_name_in_two_organizations_are_two() {
    let scene = Scene::with(&[("octo", 3, "hpc"), ("other", 1, "Default"), ("other", 8, "hpc")]);
    for _ in 0..2 {
        scene.in_group(Some("hpc")).unwrap();
        scene.runner((9, "other/sim", Some("hpc"))).unwrap();
    }
    assert_eq!(scene.groups(), [3, 8, 3, 8]);
    // The repository moves, and is told of under its new name.
    scene.runner((7, "other/sim", Some("hpc"))).unwrap();
    assert_eq!(scene.groups().last(), Some(&8));
}

#[test]
fn the_default_group_is_the_one_that_github_calls_so() {
    let scene = Scene::new();
    scene.in_group(None).unwrap();
    scene.world.borrow_mut().groups[0].default = false;
    scene.pass(600);
    scene.in_group(None).unwrap();
    scene.world.borrow_mut().groups.push(Group {
        organization: "octo",
        id: 5,
        name: "Everybody".to_owned(),
        default: true,
        open_to: None,
    });
    scene.pass(600);
    scene.in_group(None).unwrap();
    assert_eq!(scene.groups(), [1, 1, 5]);
    scene.world.borrow_mut().groups[1].open_to = Some("other");
    scene.pass(600);
    assert_eq!(scene.in_group(None).unwrap_err().reason(), Some(Reason::GroupClosed));
}

#[test]
fn a_group_on_a_later_page_is_found() {
    let scene = Scene::new();
    for id in 2..=230 {
        scene.world.borrow_mut().add("octo", id, &format!("group-{id}"));
    }
    scene.in_group(Some("group-230")).unwrap();
    assert_eq!((scene.groups(), scene.sent("/runner-groups").len()), (vec![230], 3));
}

#[test]
fn an_organization_that_has_another_name_by_now_is_found_by_the_repository() {
    let scene = Scene::with(&[("octo", 3, "hpc")]);
    scene.in_group(Some("hpc")).unwrap();
    for group in &mut scene.world.borrow_mut().groups {
        group.organization = "octo-inc";
    }
    scene.world.borrow_mut().repository = "octo-inc/sim";
    assert_eq!(scene.in_group(Some("hpc")), Ok(RunnerId(500)));
    let of = (7, "octo/sim", Some("hpc"));
    assert!(scene.ask(of, |credentials, reach| credentials.remove_runner(reach, RunnerId(500))).is_ok());
}

#[test]
fn a_personal_account_and_a_lacking_permission_are_told_as_what_they_are() {
    let scene = Scene::new();
    scene.world.borrow_mut().groups.clear();
    let fresh = scene.in_group(None).unwrap_err();
    assert_eq!((fresh.kind(), fresh.reason()), (FailureKind::Away, Some(Reason::OrganizationPermission)));
    scene.pass(60);
    let error = scene.in_group(None).unwrap_err();
    let told = error.told();
    assert!(
        told.contains("organization permission Self-hosted runners") && told.contains("level = 'repository'"),
        "{told}"
    );

    for (status, message) in [
        (422, "The permissions requested are not granted to this installation."),
        (403, "Resource not accessible by integration"),
    ] {
        scene.platform.serve(move |_, _| answer(status, &json!({"message": message})));
        let error = scene.in_group(None).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::OrganizationPermission), "{error}");
    }
}

#[test]
fn a_server_without_jit_configurations_is_told_from_a_group_that_is_gone() {
    let scene = Scene::with(&[("octo", 3, "hpc")]);
    scene.world.borrow_mut().jit = false;
    assert_eq!(scene.in_group(Some("hpc")).unwrap_err().reason(), Some(Reason::NoJit));
}

#[test]
fn other_servers_are_asked_by_the_same_paths() {
    for api in ["https://ghe.example/api/v3/", "https://api.octo.ghe.com/"] {
        let mut scene = Scene::with(&[("octo", 3, "hpc")]);
        scene.api = api;
        assert_eq!(scene.in_group(Some("hpc")), Ok(RunnerId(500)));
        let sent = scene.platform.sent.borrow();
        assert!(sent.iter().all(|request| request.url.as_str().starts_with(api)));
        assert!(sent.iter().any(|request| request.url.as_str()
            == format!("{api}orgs/octo/actions/runner-groups?per_page=100&page=1&visible_to_repository=sim")));
    }
}
