//! Which launches have to wait, so that something else may happen first.

use tokio::sync::watch;

/// A gate that is open until it is closed.
pub(crate) struct Hold(watch::Sender<Held>);

#[derive(Debug, Clone, PartialEq)]
enum Held {
    Nothing,
    All,
    /// All but this launch.
    AllBut(String),
}

impl Default for Hold {
    fn default() -> Self {
        Self(watch::Sender::new(Held::Nothing))
    }
}

impl Hold {
    pub(crate) fn all(&self, held: bool) {
        self.0.send_replace(if held { Held::All } else { Held::Nothing });
    }

    pub(crate) fn all_but(&self, launch: &str) {
        self.0.send_replace(Held::AllBut(launch.to_owned()));
    }

    /// Waits until a launch may go on.
    pub(crate) async fn pass(&self, launch: &str) {
        let open = |held: &Held| match held {
            Held::Nothing => true,
            Held::All => false,
            Held::AllBut(only) => only == launch,
        };
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(open).await;
    }
}
