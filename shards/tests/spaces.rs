//! Promise: a space is made once, durably before anyone is told, and what it was made with never changes.

mod world;

use engram_shards::message::{IfExists, Made, Refusal, Reply, Request, SpaceDescription};
use engram_shards::settings::SpaceSettings;
use world::{CLIENT, Fate, SECRET, World, settings, stripe};

fn create(world: &mut World, settings: SpaceSettings, if_exists: IfExists) {
    let stripe = stripe(&settings.name);
    world.ask(stripe, CLIENT, Request::CreateSpace { settings, if_exists });
}

#[test]
fn it_is_told_of_once_it_is_durable() {
    let mut world = World::new(1);
    create(&mut world, settings("diary"), IfExists::MustBeSame);
    create(&mut world, settings("diary"), IfExists::Take);
    let other = SpaceSettings { dimension: 32, ..settings("diary") };
    create(&mut world, other.clone(), IfExists::MustBeSame);
    create(&mut world, other, IfExists::Take);
    world.pass(500);
    assert_eq!(world.take().len(), 0);
    let describe = Request::DescribeSpace(SECRET.space_key("diary"));
    world.ask(stripe("diary"), CLIENT, describe.clone());
    assert!(matches!(world.take_one(), Reply::Space(Err(Refusal::UnknownSpace))));
    world.commit();
    let space = SpaceDescription { key: SECRET.space_key("diary"), settings: settings("diary") };
    let answers: Vec<_> = world
        .take()
        .into_iter()
        .map(|(_, reply)| match reply {
            Reply::Space(answer) => answer,
            reply => panic!("{reply:?}"),
        })
        .collect();
    let expected = [
        Ok((space.clone(), Made::Now)),
        Ok((space.clone(), Made::Before)),
        Err(Refusal::SpaceDiffers(space.clone())),
        Ok((space.clone(), Made::Before)),
    ];
    assert_eq!(answers, expected);
    world.crash(Fate::Lost, 3);
    world.ask(stripe("diary"), CLIENT, describe);
    let Reply::Space(answer) = world.take_one() else { panic!("not described") };
    assert_eq!(answer, Ok((space, Made::Before)));
}

#[test]
fn each_shard_makes_the_stripes_that_it_owns() {
    let mut world = World::new(2);
    let wide = SpaceSettings { stripes: 5, ..settings("wide") };
    for shard in 0..2 {
        let request =
            Request::CreateSpace { settings: wide.clone(), if_exists: IfExists::MustBeSame };
        world.shards[shard].handle_request(CLIENT, request, world.now);
    }
    world.commit();
    assert!(world.take().iter().all(|(_, reply)| matches!(reply, Reply::Space(Ok(_)))));
    for shards in [2, 1, 4] {
        world.crash(Fate::Lost, shards);
        let statuses = world.status();
        let stripes = |shard: usize| statuses[shard].stripes.iter().map(|found| found.stripe);
        let mut all: Vec<_> = (0..usize::from(shards)).flat_map(stripes).collect();
        all.sort();
        assert_eq!(all, [0, 1, 2, 3, 4]);
        assert!(statuses.iter().all(|shard| shard.stripes.len() < 5 || shards == 1));
    }
}
