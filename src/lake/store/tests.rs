//! Tests of what a store promises, on a file system.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::sync::Barrier;

use parquet::file::reader::{ChunkReader, Length};
use tempfile::TempDir;

use super::{Place, ReadAt, open};

fn store() -> (TempDir, Place) {
    let folder = tempfile::tempdir().unwrap();
    let place = open(folder.path()).unwrap();
    (folder, place)
}

/// The keys of all files, sorted.
fn keys(folder: &TempDir) -> Vec<String> {
    let (mut keys, mut folders) = (Vec::new(), vec![folder.path().to_path_buf()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => keys.push(path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    keys.sort();
    keys
}

#[test]
fn of_many_that_put_one_key_one_wins() {
    const RACERS: usize = 16;
    let (folder, place) = store();
    for round in 0..20 {
        let (object, start) = (place.join(&format!("{round}.json")), Barrier::new(RACERS));
        let winners: Vec<usize> = std::thread::scope(|scope| {
            let put = |racer: usize| {
                let (object, start) = (&object, &start);
                scope.spawn(move || {
                    start.wait();
                    object.put_if_absent(format!("racer {racer}").as_bytes()).unwrap().then_some(racer)
                })
            };
            let racers: Vec<_> = (0..RACERS).map(put).collect();
            racers.into_iter().filter_map(|racer| racer.join().unwrap()).collect()
        });
        let [winner] = winners[..] else { panic!("{winners:?} have won") };
        assert_eq!(object.read().unwrap(), format!("racer {winner}").into_bytes());
    }
    assert_eq!(keys(&folder).len(), 20, "no temporary file is left");
}

#[test]
fn publishing_is_idempotent() {
    let (folder, place) = store();
    place.join("_staging").create_folder().unwrap();
    let files = ["a", "b", "c"].map(|name| (format!("_staging/{name}.inprogress"), format!("date=1/hour=2/{name}")));
    let moves: Vec<(&str, &str)> = files.iter().map(|(from, to)| (&**from, &**to)).collect();
    place.put_all(&files.each_ref().map(|(from, to)| (from.clone(), to.as_bytes()))).unwrap();
    // As if the process had died after the first file.
    place.publish(&moves[..1], &mut || Ok(())).unwrap();
    let mut between = 0;
    for _ in 0..2 {
        let published = place.publish(&moves, &mut || {
            between += 1;
            Ok(())
        });
        published.unwrap();
        assert_eq!(keys(&folder), ["date=1/hour=2/a", "date=1/hour=2/b", "date=1/hour=2/c"]);
    }
    assert_eq!(between, 4);
    assert_eq!(place.join("date=1/hour=2/c").read().unwrap(), b"date=1/hour=2/c");
    let said = format!("{:#}", place.publish(&[("_staging/d", "date=1/d")], &mut || Ok(())).unwrap_err());
    assert!(said.contains("cannot rename") && said.contains("_staging/d"), "{said}");
}

#[test]
fn what_is_put_together_is_there_as_a_whole_or_not_at_all() {
    let (folder, place) = store();
    place.join("b").put_if_absent(b"first").unwrap();
    let objects = ["a", "b", "c"].map(|name| (name.to_owned(), &b"second"[..]));
    let said = place.put_all(&objects).unwrap_err().to_string();
    assert!(said.starts_with("cannot create ") && said.ends_with("/b"), "{said}");
    assert_eq!((keys(&folder), place.join("b").read().unwrap()), (vec!["b".to_owned()], b"first".to_vec()));
}

#[test]
fn a_listing_has_what_lies_in_partitions() {
    let (folder, place) = store();
    let table = place.join("plays");
    for name in ["date=2/hour=10/b", "date=2/hour=10/a", "date=2/hour=9/c", "date=1/d", "top", "_merged/date=1/e"] {
        let file = table.join(name);
        file.folder().create_folder().unwrap();
        file.replace(b"content").unwrap();
    }
    fs::create_dir(folder.path().join("plays/date=3")).unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("plays/date=4")).unwrap();
    let files = table.partitioned_files();
    let files: Vec<&str> = files.iter().map(Place::key).collect();
    let all = ["plays/date=1/d", "plays/date=2/hour=10/a", "plays/date=2/hour=10/b", "plays/date=2/hour=9/c"];
    assert_eq!(files, all);
    let mut seen = BTreeSet::new();
    let listed = table.for_each_partition(|folder, files| {
        assert!(seen.insert((folder.key().to_owned(), files.len())));
        Ok(())
    });
    listed.unwrap();
    let folders = [("plays/date=1", 1), ("plays/date=2/hour=10", 2), ("plays/date=2/hour=9", 1)];
    assert_eq!(seen, folders.map(|(folder, files)| (folder.to_owned(), files)).into());
    assert_eq!(table.names().unwrap(), ["_merged", "date=1", "date=2", "date=3", "date=4", "top"]);
    assert!(place.join("nothing").partitioned_files().is_empty());
    assert!(place.join("nothing").names().unwrap_err().to_string().starts_with("cannot list the folder "));
}

#[test]
fn a_lease_excludes_others_until_it_is_dropped() {
    let (_folder, place) = store();
    let lease = || place.join("writer.lock").lease().unwrap();
    let (first, second) = (lease(), lease());
    assert!(first.try_take().unwrap());
    assert!(!second.try_take().unwrap());
    first.write(b"a longer record").unwrap();
    first.write(b"a record").unwrap();
    assert_eq!((second.record(100).unwrap(), second.record(3).unwrap()), (b"a record".to_vec(), b"a r".to_vec()));
    drop(first);
    assert!(second.try_take().unwrap());
    assert_eq!(lease().record(100).unwrap(), b"a record", "it stays");
}

#[test]
fn a_second_name_is_made_once_and_hides_no_other_object() {
    let (folder, place) = store();
    let [from, to, other] = ["_merged/date=1/m", "date=1/m", "date=1/n"].map(|key| place.join(key));
    for file in [&from, &other] {
        file.folder().create_folder().unwrap();
        file.replace(b"content").unwrap();
    }
    assert_eq!([from.link(to.key()).unwrap(), from.link(to.key()).unwrap()], [true, false]);
    let before = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::open(from.path()).unwrap().set_modified(before).unwrap();
    from.touch().unwrap();
    let about = to.about().unwrap().unwrap();
    assert!(about.names == 2 && about.modified > before);
    assert!(from.link(other.key()).unwrap_err().to_string().contains("is another file than"));
    from.remove().unwrap();
    from.remove().unwrap();
    from.folder().prune();
    assert_eq!(keys(&folder), ["date=1/m", "date=1/n"]);
    assert!(!place.join("_merged").exists() && place.join("date=1").is_folder());
}

#[test]
fn a_folder_is_published_in_the_place_of_another() {
    let (folder, place) = store();
    for key in ["_making/manifest", "_making/part", "done/manifest", "done/old"] {
        place.join(key).folder().create_folder().unwrap();
        place.join(key).replace(key.as_bytes()).unwrap();
    }
    place.join("_making").publish_folder("done", "manifest").unwrap();
    assert_eq!(keys(&folder), ["done/manifest", "done/part"]);
    assert_eq!(place.join("done/manifest").read().unwrap(), b"_making/manifest");
}

#[test]
fn a_draft_is_read_back_and_corrected_before_it_is_an_object() {
    let (_folder, place) = store();
    let object = place.join("file");
    assert_eq!(object.open().err().unwrap().kind(), ErrorKind::NotFound);
    assert!(object.about().unwrap().is_none() && object.read_if_there().unwrap().is_none());
    let mut draft = object.create().unwrap();
    draft.write_all(b"0123456789").unwrap();
    draft.overwrite(b"abc", 4).unwrap();
    draft.sync().unwrap();
    assert_eq!((draft.length().unwrap(), object.create().err().unwrap().kind()), (10, ErrorKind::AlreadyExists));
    let opened = object.open().unwrap();
    assert_eq!((opened.len(), opened.size_bytes()), (10, 10));
    assert_eq!(opened.get_bytes(3, 5).unwrap(), &b"3abc7"[..]);
    let said = opened.get_bytes(8, 5).unwrap_err().to_string();
    assert!(said.ends_with("Expected to read 5 bytes, read only 2"), "{said}");
    let mut rest = String::new();
    opened.get_read(6).unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "c789");
}

/// Absolute and relative, with each spelling of a name.
#[test]
fn a_url_is_found_if_it_lies_inside() {
    let (_folder, place) = store();
    let lake = place.join("a lake, 100 % für #1");
    lake.create_folder().unwrap();
    let lake = lake.resolved().unwrap();
    let url = lake.url().unwrap();
    let found = |name: &str| lake.find(&url.join(name).unwrap()).map(|found| found.key().to_owned());
    for name in [
        "date=1/a b",
        "date=1/a%20b",
        "date=1//a%20b",
        "x/../date=1/./a%20b",
        url.join("date=1/a%20b").unwrap().as_str(),
    ] {
        assert_eq!(found(name).as_deref(), Some("date=1/a b"), "{name}");
    }
    for name in ["../a", "..%2Fa", "date=1/..%2F..%2Fa", "/etc/passwd", "file://elsewhere/a", "s3://bucket/a"] {
        assert_eq!(found(name), None, "{name}");
    }
}
