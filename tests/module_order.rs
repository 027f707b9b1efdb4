//! Modules stand in reading order: each imports only from those declared before it, at every depth.
//!
//! A path `crate::a::b` or `super::b` in the source is resolved to the module it names; where that module and the one
//! that names it have a common parent, it must be declared first there. Unit tests are exempt.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A module by its names from the root of its crate.
type ModulePath = Vec<String>;

/// All modules of a crate.
struct Crate {
    files: BTreeMap<ModulePath, PathBuf>,
    /// Children of each module, in the order of their declarations.
    children: BTreeMap<ModulePath, Vec<String>>,
}

impl Crate {
    fn read(root: &Path) -> Crate {
        let mut read = Crate { files: BTreeMap::new(), children: BTreeMap::new() };
        let folder = root.parent().expect("a root file lies in a folder");
        read.add(Vec::new(), root.to_owned(), folder);
        read
    }

    fn add(&mut self, module: ModulePath, file: PathBuf, folder: &Path) {
        let text = code(&file);
        let names: Vec<String> = text.lines().filter_map(declared).map(str::to_owned).collect();
        for name in &names {
            let child: ModulePath = module.iter().chain([name]).cloned().collect();
            let inner = folder.join(name);
            let flat = folder.join(format!("{name}.rs"));
            let file = if flat.exists() { flat } else { inner.join("mod.rs") };
            self.add(child, file, &inner);
        }
        self.children.insert(module.clone(), names);
        self.files.insert(module, file);
    }

    /// Each import of what is declared later, as a sentence.
    fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (module, file) in &self.files {
            for named in paths(&code(file)).iter().filter_map(|path| resolve(module, path)) {
                if self.is_later(module, &named) {
                    found.push(format!("{} imports {}", module.join("::"), named.join("::")));
                }
            }
        }
        found
    }

    fn is_later(&self, module: &[String], named: &[String]) -> bool {
        let common = module.iter().zip(named).take_while(|(a, b)| a == b).count();
        let (Some(own), Some(other)) = (module.get(common), named.get(common)) else {
            return false;
        };
        let siblings = &self.children[&module[..common]];
        let place = |name: &String| siblings.iter().position(|sibling| sibling == name);
        // What is no module is an item of the common parent.
        place(other) > place(own)
    }
}

/// The source without line comments and without its unit tests.
fn code(file: &Path) -> String {
    let text =
        std::fs::read_to_string(file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    let text = text.split("#[cfg(test)]\nmod ").next().expect("split gives at least one part");
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// The name that a line `pub mod name;` declares.
fn declared(line: &str) -> Option<&str> {
    let mut words = line.trim().strip_suffix(';')?.split_whitespace().rev();
    let name = words.next()?;
    (words.next()? == "mod").then_some(name)
}

/// All paths of the source that begin with `crate` or `super`, with groups in braces multiplied out.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for root in ["crate::", "super::"] {
        for (at, _) in text.match_indices(root) {
            let before = text[..at].chars().next_back();
            // `$crate::`, and the second `super` of `super::super::`, which belong to the path before.
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '$')) {
                continue;
            }
            tree(&text[at..], &mut Vec::new(), &mut found);
        }
    }
    found
}

/// Reads one use tree, adding the paths of its leaves; how many bytes it is long.
fn tree(text: &str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    let start = text.len() - text.trim_start().len();
    let rest = &text[start..];
    if let Some(group) = rest.strip_prefix('{') {
        let mut at = 0;
        while !group[at..].trim_start().starts_with('}') && at < group.len() {
            at += tree(&group[at..], prefix, found);
            // `name as other` and the comma: on to the next leaf or the end.
            at += group[at..].find([',', '}']).unwrap_or(group.len() - at);
            at += usize::from(group[at..].starts_with(','));
        }
        let closing = group[at..].find('}').map_or(group.len(), |brace| at + brace + 1);
        return start + 1 + closing;
    }
    let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let depth = prefix.len();
    prefix.push(rest[..length].to_owned());
    let mut end = start + length;
    if let Some(below) = rest[length..].strip_prefix("::") {
        end += 2 + tree(below, prefix, found);
    } else {
        found.push(prefix.clone());
    }
    prefix.truncate(depth);
    end
}

/// What a path names, from the crate's root; `None` where it leads out of it.
fn resolve(module: &[String], path: &[String]) -> Option<ModulePath> {
    let supers = path.iter().take_while(|name| *name == "super").count();
    let base = if supers > 0 { &module[..module.len().checked_sub(supers)?] } else { &[] };
    let rest = &path[supers.max(1)..];
    Some(base.iter().chain(rest).cloned().collect())
}

#[test]
fn each_module_imports_only_from_those_declared_before_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["src/lib.rs", "shards/src/lib.rs", "tests/system/main.rs"] {
        let read = Crate::read(&root.join(file));
        assert!(read.files.len() > 5, "{file} declares hardly a module: misread?");
        let violations = read.violations();
        assert!(violations.is_empty(), "{file}: {violations:#?}");
    }
}

/// The reader sees what it must: or the test above would pass on anything.
#[test]
fn imports_are_found_in_every_form() {
    let text =
        "use crate::a::{b, c::{D, E as F}, g};\nfn f(x: super::super::h::I) { crate::j::k() }";
    let mut found: Vec<String> = paths(text).iter().map(|path| path.join("::")).collect();
    found.sort();
    let expected = [
        "crate::a::b",
        "crate::a::c::D",
        "crate::a::c::E",
        "crate::a::g",
        "crate::j::k",
        "super::super::h::I",
    ];
    assert_eq!(found, expected);

    let module = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
    let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let read = Crate {
        files: BTreeMap::new(),
        children: BTreeMap::from([
            (Vec::new(), names("a b")),
            (module("a"), names("c d")),
            (module("b"), Vec::new()),
        ]),
    };
    let later = |from: &str, to: &str| {
        let from = module(from);
        let named = resolve(&from, &module(to)).expect("it stays in the crate");
        read.is_later(&from, &named)
    };
    assert!(
        later("a", "crate::b::X") && later("a::c", "super::d") && later("a::c", "super::super::b")
    );
    assert!(
        !later("b", "crate::a::c")
            && !later("a::d", "super::c::X")
            && !later("a::d", "super::Item")
    );
}
