//! Scopes, eligibility, windows and names.

use proptest::prelude::*;

use super::*;

fn scopes() -> impl Strategy<Value = Scope> {
    let text = prop_oneof!["(device|country|global)?:?[A-Z:]{0,3}", any::<String>()];
    (prop::sample::select(ScopeKind::all().collect::<Vec<_>>()), text).prop_map(|(kind, text)| match kind {
        ScopeKind::Global => Scope::Global,
        ScopeKind::By(dimension) => Scope::Of(dimension, Label::new(&text)),
    })
}

proptest! {
    #[test]
    fn a_scope_is_read_back_from_its_name(scope in scopes()) {
        prop_assert_eq!(Scope::parse(&scope.name()), Ok(scope));
    }

    #[test]
    fn two_scopes_never_share_a_name(a in scopes(), b in scopes()) {
        prop_assert_eq!(a.name() == b.name(), a == b);
    }

    /// An integer is at most 70 % of the duration if and only if it is at most their floor.
    #[test]
    fn heard_long_enough(
        completed: bool,
        least_ms in 1..=i32::MAX,
        near_ms in -3..=3i64,
        listened_ms in prop::option::of(0..=i32::MAX),
    ) {
        let duration_ms = (i64::from(least_ms) * 10 / 7 + near_ms).clamp(0, i32::MAX.into()) as i32;
        let expected = match listened_ms {
            Some(listened_ms) => listened_ms >= least_ms,
            None => completed && i64::from(duration_ms) * 7 / 10 >= i64::from(least_ms),
        };
        prop_assert_eq!(Eligible::ListenedMs(least_ms).counts(completed, duration_ms, listened_ms), expected);
        prop_assert_eq!(Eligible::Completed.counts(completed, duration_ms, listened_ms), completed);
        prop_assert!(Eligible::All.counts(completed, duration_ms, listened_ms));
    }

    #[test]
    fn the_window_holds_the_clock_and_ends_on_a_slide(
        clock_us in -1i64 << 55..1 << 55,
        slide_s in 1..3600i64,
        panes in 1..24i64,
    ) {
        let slide_us = slide_s * 1_000_000;
        let trending = Trending { slide_us, window_us: slide_us * panes, ..Definitions::builtin().trending };
        let (start_us, end_us) = trending.window(clock_us);
        prop_assert_eq!(end_us, trending.end_us(clock_us));
        prop_assert_eq!((end_us % slide_us, end_us - start_us), (0, trending.window_us));
        prop_assert!(end_us - slide_us <= clock_us && clock_us < end_us);
    }
}

#[test]
fn scopes_that_people_write() {
    assert_eq!(Scope::parse("US"), Ok(Scope::country("US")));
    assert_eq!(Scope::parse("country:US"), Ok(Scope::country("US")));
    assert_eq!(Scope::parse("device:mobile"), Ok(Scope::device("mobile")));
    assert_eq!(Scope::country("global").name(), "country:global");
    assert_eq!(Scope::country("").name(), "country:");
    assert_eq!(
        Scope::parse("town:Lisbon").unwrap_err().to_string(),
        "`town:Lisbon` is not a scope: write `global`, a country such as `US`, or a device such as `device:mobile`"
    );
    assert!(Scope::parse("").is_err());
}

#[test]
fn charts_by_index_and_by_name() {
    let definitions = Definitions::default();
    for (index, name, top) in [(0, "weekly", 100), (2, "all-time", 100), (TRENDING, "trending", 50)] {
        assert_eq!((definitions.name(index), definitions.top(index)), (name, top));
        assert_eq!(definitions.index_of(name), Some(index));
        assert_eq!(definitions.chart(index).is_none(), index == TRENDING);
    }
    assert_eq!((definitions.name(3), definitions.top(3), definitions.index_of("daily")), ("", 0, None));
}

/// The sums saturate instead of wrapping.
#[test]
fn the_last_clock_has_a_window() {
    let trending = Definitions::builtin().trending;
    assert_eq!(trending.end_us(i64::MAX), i64::MAX);
    assert_eq!(trending.end_us(0), 60_000_000);
}
