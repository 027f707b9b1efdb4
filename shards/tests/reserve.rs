//! Memory that is reserved is there before it is used.

use engram_shards::vector::slab::Reserve;

const RESERVED: usize = 192 << 20;
/// More than a processor can address.
const TOO_MUCH: usize = 1 << 60;

/// Bytes of this process that are in RAM.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("Rss:")).expect("a line of it");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok());
    kib.expect("a number") << 10
}

#[test]
fn what_is_reserved_is_in_memory() {
    let before = resident();
    let reserve = Reserve::new(RESERVED).expect("the kernel has so much");
    assert!(resident() >= before + RESERVED);
    drop(reserve);
    assert!(resident() < before + RESERVED);
    assert!(Reserve::new(TOO_MUCH).is_none());
}
