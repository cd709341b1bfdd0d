//! What the engine says of its containers: the answer to `/containers/json`, and events.

use serde::Deserialize;
use std::collections::BTreeMap;

/// Longest list that is taken, in bytes: some ten thousand containers.
pub const LIST_MAX: u64 = 32 << 20;
/// Most bytes of one event.
pub const EVENT_MAX: usize = 1 << 20;

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What the engine calls it: letters and digits.
    pub id: String,
    /// Its name, without the `/` before it.
    pub name: String,
    /// The image, as it was named when the container was made.
    pub image: String,
    /// Its own labels, sorted.
    pub labels: Vec<(String, String)>,
    /// Whether it says more.
    pub running: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, Option<String>>>,
    #[serde(default)]
    state: Option<String>,
}

/// Whether `id` can be put into the target of a request as it is.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The containers of a list. Errors: it is none; why not.
pub fn list(json: &[u8]) -> Result<Vec<Listed>, String> {
    let rows: Vec<Row> = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let listed = |row: Row| {
        let name = row.names.unwrap_or_default().into_iter().next().unwrap_or_default();
        let labels = row.labels.unwrap_or_default().into_iter();
        Listed {
            name: name.trim_start_matches('/').to_owned(),
            image: row.image.unwrap_or_default(),
            labels: labels.map(|(name, value)| (name, value.unwrap_or_default())).collect(),
            running: matches!(row.state.as_deref(), Some("running" | "paused" | "restarting" | "stopping")),
            id: row.id,
        }
    };
    Ok(rows.into_iter().filter(|row| is_id(&row.id)).map(listed).collect())
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "Type", default)]
    kind: String,
    #[serde(rename = "Action", default)]
    action: String,
    #[serde(rename = "Actor")]
    actor: Option<Actor>,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(rename = "ID", default)]
    id: String,
}

/// Whose log may have more, or another name, or is gone, since an event of this name.
const TELLING: [&str; 8] = ["start", "restart", "die", "died", "rename", "destroy", "remove", "unpause"];

/// Takes the complete events off the front of `bytes`: the containers they tell of. Errors: these are no events.
pub fn events(bytes: &mut Vec<u8>) -> Result<Vec<String>, String> {
    let (mut told, mut done) = (Vec::new(), 0);
    let mut events = serde_json::Deserializer::from_slice(bytes).into_iter::<Event>();
    while let Some(event) = events.next() {
        match event {
            Ok(Event { kind, action, actor: Some(Actor { id }) }) => {
                if kind == "container" && TELLING.contains(&&*action) && is_id(&id) {
                    told.push(id);
                }
            }
            Ok(_) => {}
            Err(error) if error.is_eof() => break,
            Err(error) => return Err(error.to_string()),
        }
        done = events.byte_offset();
    }
    let blank = bytes[done..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    bytes.drain(..done + blank);
    Ok(told)
}

/// What the engine gave as its reason in the body of an answer that was no success.
pub fn reason(status: u16, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refused {
        message: String,
    }
    let said = serde_json::from_slice::<Refused>(body).map(|refused| refused.message);
    let said = said.unwrap_or_else(|_| String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned());
    let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
    format!("the engine answers {status}: {}", said.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_ids_that_are_none_are_passed_over() {
        let json = br#"[
            {"Id":"ab12","Names":["/web","/other/alias"],"Image":"nginx:1","Labels":{"b":"2","a":"1","n":null},"State":"running",
             "Status":"Up 3 hours","Ports":[],"New":{"x":[1]}},
            {"Id":"cd34","Names":null,"Image":null,"Labels":null,"State":"exited"},
            {"Id":"../../etc","Names":["/x"]},
            {"Id":"ef56 HTTP/1.1"}
        ]"#;
        let pairs = [("a", "1"), ("b", "2"), ("n", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let web = Listed {
            id: "ab12".into(),
            name: "web".into(),
            image: "nginx:1".into(),
            labels: pairs.into(),
            running: true,
        };
        let bare = Listed {
            id: "cd34".into(),
            name: String::new(),
            image: String::new(),
            labels: Vec::new(),
            running: false,
        };
        assert_eq!(list(json), Ok(vec![web, bare]));
        assert!(list(b"{\"message\":\"no\"}").is_err());
        assert!(list(b"[{\"Names\":[]}]").is_err());
    }

    #[test]
    fn events_are_taken_whole_and_those_that_tell_nothing_are_passed_over() {
        let text = br#"{"Type":"container","Action":"start","Actor":{"ID":"ab"}}
{"Type":"container","Action":"exec_start: sh","Actor":{"ID":"cd"}}
{"Type":"image","Action":"pull","Actor":{"ID":"ef"}}{"Type":"container","Action":"die","Actor":{"ID":"12"}}
{"Type":"builder"}
"#;
        for size in [1, 7, 1000] {
            let (mut bytes, mut told) = (Vec::new(), Vec::new());
            for piece in text.chunks(size) {
                bytes.extend_from_slice(piece);
                told.extend(events(&mut bytes).unwrap());
            }
            assert_eq!((told, bytes.len()), (vec!["ab".to_owned(), "12".to_owned()], 0), "by {size}");
        }
        assert!(events(&mut b"hello".to_vec()).is_err());
    }

    #[test]
    fn a_reason_is_what_the_engine_says_and_bounded() {
        assert_eq!(reason(500, br#"{"message":"no\nlogs"}"#), "the engine answers 500: nologs");
        assert_eq!(reason(404, b"page not found\n"), "the engine answers 404: page not found");
        assert!(reason(500, &[b'x'; 100_000]).len() < 400);
    }
}
