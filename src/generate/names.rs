//! Invented titles and artists, as many as needed.
//!
//! They are combined from word lists, so that a hundred thousand of them take no space in the
//! program. Quotes, backslashes, accents, emoji and CJK characters are included on purpose: they
//! reveal wrong JSON escaping, and code that confuses characters with bytes.
//!
//! Each list has a prime number of entries, different from that of the other lists of titles (or of
//! artists). So stepping through the combinations by another prime visits all of them before any
//! repeats, and songs with neighbouring numbers look different.

const ADJECTIVES: [&str; 41] = [
    "Paper",
    "Salted",
    "Borrowed",
    "Copper",
    "Drowsy",
    "Electric",
    "Frosted",
    "Gilded",
    "Hollow",
    "Inky",
    "Jagged",
    "Kindled",
    "Lacquered",
    "Marbled",
    "Nameless",
    "Overgrown",
    "Pewter",
    "Quilted",
    "Rusted",
    "Satin",
    "Tangled",
    "Unsent",
    "Varnished",
    "Wandering",
    "Yonder",
    "Zigzag",
    "Ash-Grey",
    "Bottled",
    "Crooked",
    "Dappled",
    "Echoing",
    "Feathered",
    "Glassblown",
    "Half-Lit",
    "Indigo",
    "Juniper",
    "Knotted",
    "Lopsided",
    "Moth-Eaten",
    "Naïve",
    "Éphémère",
];

const NOUNS: [&str; 43] = [
    "Ferry Timetable",
    "Lighthouse Keys",
    "Umbrella Stand",
    "Tram Stop",
    "Almanac",
    "Barometer",
    "Cartographer",
    "Dovecote",
    "Elevator Shaft",
    "Fjord",
    "Greenhouse",
    "Harbourmaster",
    "Inkwell",
    "Jetty",
    "Kiln",
    "Larder",
    "Metronome",
    "Nightshift",
    "Orchard Wall",
    "Pigeon Post",
    "Quarry Lake",
    "Rain Gauge",
    "Semaphore",
    "Teacup Storm",
    "Undertow Waltz",
    "Viaduct",
    "Weathervane",
    "Xylophone",
    "Yardstick",
    "Zeppelin Shed",
    "Abacus",
    "Bell Tower",
    "Cañón",
    "Drawbridge",
    "Escalera",
    "Foghorn",
    "Gondola",
    "Hourglass",
    "Köprü",
    "Ledger",
    "Observatory",
    "Smörgås",
    "Trapdoor",
];

/// `a` stands for the adjective, `n` for the noun, both in braces.
const TITLES: [&str; 23] = [
    "{a} {n}",
    "The {a} {n}",
    "{n}, {a}",
    "My {a} {n}",
    "{a} {n} (Slow Version)",
    "Letters to the {a} {n}",
    "Who Left the {a} {n}?",
    "\"{a}\" {n}",
    "{a} {n} 🌊",
    "{a} {n} at Four A.M.",
    "Don't Wake the {a} {n}",
    "{a} {n} \\ Reprise",
    "Ode to My {a} {n}",
    "{a} {n} – Teil Zwei",
    "Seven Miles from the {a} {n}",
    "{a} {n} 🎈🎻",
    "青い灯台 ({a} {n})",
    "Canción del {n} {a}",
    "밤의 우산 – {a} {n}",
    "{a} {n}, Pt. 2",
    "Après le {a} {n}",
    "All Our {a} {n}",
    "{a} {n} [Rooftop Take]",
];

const STEMS: [&str; 37] = [
    "Ambrel",
    "Brindlow",
    "Corvith",
    "Dunmarrow",
    "Eskelind",
    "Fennimoor",
    "Galdrane",
    "Hesperlow",
    "Ixmarch",
    "Jorvalen",
    "Kestwick",
    "Lumadane",
    "Mirabeck",
    "Norrowby",
    "Ostrelle",
    "Pellumbra",
    "Quenhollow",
    "Rastivane",
    "Sorrelby",
    "Tavish-Orr",
    "Ulverdeen",
    "Vantross",
    "Wexmoor",
    "Yarrowind",
    "Zephrane",
    "Bjørvinde",
    "Châtelune",
    "Doñarell",
    "Écumelle",
    "Grünspecht-Ott",
    "Håvelund",
    "Łuszkowny",
    "Nývltka",
    "Śnieżynek",
    "Tōgamori",
    "Ōrimasu",
    "İncirdal",
];

const ENDINGS: [&str; 29] = [
    "& the Tin Weather",
    "Sound Bureau",
    "Brothers in Felt",
    "Marching Choir",
    "Ensemble",
    "Trio",
    "Telephone",
    "on Stilts",
    "Orkestar",
    "and Daughters",
    "Radio Club",
    "Tape Society",
    "Machine Garden",
    "String Committee",
    "Night Bus",
    "Paper Band",
    "Collective",
    "Steam Engine",
    "Umbrella Co.",
    "vs. the Moon",
    "Kitchen Quartet",
    "Nine",
    "Pocket Opera",
    "Skyline",
    "Harmonium",
    "Dispatch",
    "Cartel of Owls",
    "Lanterns",
    "Post Office",
];

/// `s` stands for the stem, `e` for the ending, both in braces.
const ARTISTS: [&str; 19] = [
    "{s} {e}",
    "The {s} {e}",
    "DJ {s} {e}",
    "MC {s} {e}",
    "Los {s} {e}",
    "Little {s} {e}",
    "Señora {s} {e}",
    "{s} {e} ✨",
    "Old {s} {e}",
    "\"{s}\" {e}",
    "Les {s} {e}",
    "King {s} {e}",
    "{s}’s {e}",
    "New {s} {e}",
    "Young {s} {e}",
    "{s} {e} 楽団",
    "Dr. {s} {e}",
    "{s} {e} II",
    "{s} {e} 2000",
];

/// How many different artists there are.
pub const ARTISTS_MAX: usize = STEMS.len() * ENDINGS.len() * ARTISTS.len();

/// The title with number `index`; titles repeat after some forty thousand.
pub fn title(index: usize) -> String {
    combine(index, 7919, &TITLES, ("{a}", &ADJECTIVES), ("{n}", &NOUNS))
}

/// The artist with number `index`, different for each index below [`ARTISTS_MAX`].
pub fn artist(index: usize) -> String {
    combine(index, 6151, &ARTISTS, ("{s}", &STEMS), ("{e}", &ENDINGS))
}

fn combine(index: usize, step: usize, forms: &[&str], first: (&str, &[&str]), second: (&str, &[&str])) -> String {
    let place = index.wrapping_mul(step) % (forms.len() * first.1.len() * second.1.len());
    let (rest, word) = (place / first.1.len(), first.1[place % first.1.len()]);
    let (form, other_word) = (forms[rest / second.1.len()], second.1[rest % second.1.len()]);
    form.replace(first.0, word).replace(second.0, other_word)
}
