//! What messages are made of, as their definitions say it: documents are generated from here, so they can't differ.

/// A type that can list its fields.
pub trait Described {
    /// In the order of the wire.
    const FIELDS: &'static [Field];
}

/// One field, as its definition documents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// The lines of its documentation, each with its leading space.
    pub docs: &'static [&'static str],
}

/// How the paragraph begins that says why a relay is told a field.
const REASON: &str = "A relay needs it ";

impl Field {
    /// What it is: the first paragraph of its documentation.
    pub fn what(&self) -> String {
        self.paragraphs().next().unwrap_or_default()
    }

    /// Why a relay needs it, in the words after "A relay needs it"; [`None`] where nothing says so.
    pub fn why(&self) -> Option<String> {
        self.paragraphs().find_map(|text| text.strip_prefix(REASON).map(str::to_owned))
    }

    fn paragraphs(&self) -> impl Iterator<Item = String> {
        let lines = self.docs.split(|line| line.trim().is_empty());
        lines.map(|lines| lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::Field;

    #[test]
    fn a_field_tells_what_it_is_apart_from_why_it_is_told() {
        let docs = &[" The length,", " in bytes.", "", " More.", "", " A relay needs it to count."];
        let field = Field { name: "len", docs };
        assert_eq!(field.what(), "The length, in bytes.");
        assert_eq!(field.why().as_deref(), Some("to count."));
        assert_eq!(Field { name: "len", docs: &docs[..2] }.why(), None);
    }
}
