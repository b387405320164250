use super::*;

/// Every view of a source, where every byte is some pattern's.
fn views(source: &str, extent: Extent) -> Vec<(String, Option<usize>)> {
    let every: Vec<u8> = (0..=255).collect();
    let sought = Sought::of([&every[..], &every[..6]].into_iter());
    let mut seen = Vec::new();
    let _ = Views::visit(source.as_bytes(), &sought, extent, &mut |views, view| {
        let View { bytes, open, .. } = views.view(view);
        seen.push((String::from_utf8_lossy(bytes).into_owned(), *open));
        ControlFlow::Continue(())
    });
    seen
}

fn readings(source: &str) -> Vec<String> {
    let views = views(source, Extent::Whole);
    views.into_iter().map(|(text, _)| text).collect()
}

#[test]
fn escapes_are_undone_and_what_is_none_stays() {
    assert_eq!(readings("a%41%zz%4")[1], "aA%zz%4");
    assert_eq!(
        readings(r#"\"\\\/\u00e4\ud83d\ude00\x41\U0001f600\q\ud83d"#)[1],
        "\"\\/ä\u{1f600}A\u{1f600}\\q\\ud83d"
    );
    assert_eq!(readings("a+b%2B").last().unwrap(), "a b+");
    assert_eq!(
        readings("a\r\nb-and-more\n"),
        ["a\r\nb-and-more\n", "ab-and-more"]
    );
    assert_eq!(readings("plain"), ["plain"]);
}

#[test]
fn what_no_find_can_hold_is_not_read() {
    let sought = Sought::of([&b"hunter22"[..]].into_iter());
    let count = |source: &[u8]| {
        let mut count = 0;
        let _ = Views::visit(source, &sought, Extent::Whole, &mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        });
        count
    };
    assert_eq!(count(br#"{\"name\": \"of a shop\", 50%, %20%3A}"#), 1);
    assert_eq!(count(b"a line\n{another}\n"), 1);
    assert_eq!(count(br"\x68unter22"), 2);
    assert_eq!(count(b"hunt\ner22"), 2);
}

#[test]
fn a_view_shows_the_runs_around_its_escapes() {
    let sought = Sought::of([&b"hunter22"[..]].into_iter());
    let shown = |source: &[u8], extent| {
        let mut shown = Vec::new();
        let _ = Views::visit(source, &sought, extent, &mut |views, view| {
            shown.push(String::from_utf8_lossy(&views.view(view).bytes).into_owned());
            ControlFlow::Continue(())
        });
        shown.split_off(1)
    };
    let whole = |source: &[u8]| shown(source, Extent::Whole);
    assert_eq!(
        whole(br"hunter22 in \\x68unter22, he\x72e \\u0068unter22"),
        [r"\x68unter22,\u0068unter22", "hunter22,hunter22"]
    );
    assert_eq!(
        whole(br#"so \x68unter22\"s \\ and \x68unter22"#),
        ["hunter22\"hunter22"]
    );
    assert!(whole(br"of no use: he\x72e").is_empty());
    assert_eq!(shown(br"more to come: hu\x6e", Extent::Piece), ["hun"]);
}

#[test]
fn an_escape_that_the_next_chunk_may_complete_is_left_open() {
    for (source, at) in [
        ("ab%", 2),
        ("ab%4", 2),
        ("ab\\", 2),
        ("a\\u00e", 1),
        ("a\\ud83d", 1),
        ("a\\ud83d\\ude0", 1),
        ("\\x4", 0),
    ] {
        assert_eq!(views(source, Extent::Piece)[1].1, Some(at), "{source}");
        assert_eq!(views(source, Extent::Last).len(), 1, "{source}");
    }
}

#[test]
fn a_cut_is_moved_to_the_beginning_of_an_escape() {
    let sought = Sought::of([&b"hunter22"[..]].into_iter());
    let go_on = &mut |_: &Views, _| ControlFlow::Continue(());
    // The second escape is one that no find can hold.
    let (views, _) = Views::visit(b"a%65b%20c", &sought, Extent::Piece, go_on);
    let cuts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|at| views.cut(at));
    assert_eq!(cuts, [0, 1, 1, 1, 4, 5, 5, 5, 8, 9]);
    let (views, _) = Views::visit(b"a%20b", &sought, Extent::Piece, go_on);
    assert_eq!([1, 2, 3, 4].map(|at| views.cut(at)), [1, 1, 1, 4]);
}
