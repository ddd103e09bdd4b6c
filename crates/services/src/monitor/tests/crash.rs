//! What a crash leaves behind is taken up from the ledger alone.

use std::sync::Arc;

use ledger::{BundleKey, LedgerError, Wave, WaveState};
use queue::{BundleSealer, Faults, FaultyQueue, MemoryQueue, QueueName};
use serde_json::json;

use super::life::top_up;
use crate::monitor::{
    Monitor,
    issuer::{IssueError, Issued},
    reconciler,
    testkit::{Bench, Odd, terms, terms_with, with},
};

/// A campaign that is not due, so that nothing issues its first wave but the test.
pub(super) async fn planned(bench: &Bench) -> rules::CampaignId {
    let starts_at = bench.ledger.now().plus_seconds(3_600);
    let campaign = bench
        .create(terms_with("starts_at", json!(starts_at)))
        .await;
    campaign["id"].as_str().unwrap().parse().unwrap()
}

/// Commits that wave 1 is being issued, as a process does that then dies.
pub(super) async fn begin_and_die(
    monitor: &Monitor,
    id: rules::CampaignId,
    digest: Option<[u8; 32]>,
) {
    let campaign = monitor.campaign(id).await.unwrap();
    let shares = rules::split(&campaign.seed, &campaign.tranches[0]).unwrap();
    let wave = campaign.waves[0].clone();
    let begun = Wave {
        state: WaveState::Issuing,
        // Not what this process would choose: the first to begin has decided.
        bundle_size: 3,
        algorithm: rules::ALGORITHM,
        digest: digest.or(Some(shares.range_digest(wave.offset, wave.packets))),
        ..wave
    };
    monitor
        .ledger
        .begin_wave(monitor.leader.lead().unwrap(), campaign.no, &begun)
        .await
        .unwrap();
}

/// The packets in the queue, as a grab node would read them, by index.
async fn packets_in_queue(bench: &Bench, id: rules::CampaignId) -> Vec<(u32, u64)> {
    let campaign = bench.monitor.campaign(id).await.unwrap();
    let sealer = BundleSealer::new(&campaign.seed);
    let visibility = std::time::Duration::from_secs(60);
    let received = bench
        .queue
        .receive(&QueueName::of(id), 1_000, visibility)
        .await;
    let mut packets = Vec::new();
    for message in received.unwrap() {
        let bundle = sealer.decode(id, &message.body).unwrap();
        for place in 0..bundle.amounts.len() {
            let (packet, amount, _) = bundle.packet(place).unwrap();
            packets.push((packet.index, amount.units()));
        }
    }
    packets.sort_unstable();
    packets
}

#[tokio::test]
async fn a_wave_that_was_begun_is_completed_as_it_was_begun() {
    let bench = Bench::new().await;
    let id = planned(&bench).await;
    begin_and_die(&bench.monitor, id, None).await;
    bench.monitor.refill().await.unwrap();
    let campaign = bench.monitor.campaign(id).await.unwrap();
    assert_eq!(campaign.waves[0].state, WaveState::Open);
    assert_eq!(campaign.waves[0].bundle_size, 3);
    let counts = bench.queue.counts(&QueueName::of(id)).await.unwrap();
    assert_eq!(counts.visible, 2, "4 packets in bundles of 3");
    let shares = rules::split(&campaign.seed, &campaign.tranches[0]).unwrap();
    let expected = (1..=4).map(|i| (i, shares.amount(i as usize - 1).units()));
    assert_eq!(
        packets_in_queue(&bench, id).await,
        expected.collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn packets_that_are_not_those_committed_to_halt_the_campaign() {
    let bench = Bench::new().await;
    let id = planned(&bench).await;
    begin_and_die(&bench.monitor, id, Some([7; 32])).await;
    let lead = bench.monitor.leader.lead().unwrap();
    let refused = bench.monitor.open_wave(lead, id, 1).await;
    assert!(matches!(refused, Err(IssueError::Halted(_))), "{refused:?}");
    let campaign = bench.monitor.campaign(id).await.unwrap();
    assert!(campaign.halted.is_some());
    assert_eq!(campaign.waves[0].state, WaveState::Issuing);
    assert_eq!(packets_in_queue(&bench, id).await, []);
    // Nothing touches it any more, and the others' refill goes on.
    bench.monitor.refill().await.unwrap();
    assert_eq!(
        bench.monitor.open_wave(lead, id, 1).await.unwrap(),
        Issued::NotNow
    );
}

#[tokio::test]
async fn a_queue_that_came_up_empty_gets_every_bundle_with_unclaimed_packets() {
    let bench = Bench::new().await;
    let campaign = bench.create(terms()).await;
    let id = campaign["id"].as_str().unwrap();
    let amount = bench.amount(id, 1, 2).await;
    bench.claim(id, "bob", "1-2", amount).await;
    let id = id.parse().unwrap();
    for _ in 0..2 {
        bench.queue.drop_queue(&QueueName::of(id)).await.unwrap();
        bench.monitor.refill().await.unwrap();
        let packets = packets_in_queue(&bench, id).await;
        let indices: Vec<_> = packets.iter().map(|(index, _)| *index).collect();
        assert_eq!(indices, [1, 3, 4]);
    }
}

#[tokio::test]
async fn a_refill_that_began_before_a_wave_sends_the_wave_s_bundles_too() {
    let bench = Bench::new().await;
    let created = bench.create(terms_with("batches", json!(1))).await;
    let id = created["id"].as_str().unwrap().parse().unwrap();
    let before = bench.monitor.campaign(id).await.unwrap();
    let more = json!({"packets": 3, "total": 300});
    let topped = top_up(&bench, &id.to_string(), "one", more).await;
    assert_eq!(topped.status, http::StatusCode::OK, "{}", topped.text());
    bench.queue.drop_queue(&QueueName::of(id)).await.unwrap();
    let lead = bench.monitor.leader.lead().unwrap();
    let refilled = reconciler::refill_campaign(&bench.monitor, lead, &before).await;
    assert!(refilled.is_ok(), "{refilled:?}");
    let packets = packets_in_queue(&bench, id).await;
    assert_eq!(packets.len() as u64, before.packets_total() + 3);
    // Nor does a ledger whose copies are behind say anything about the books.
    let key = BundleKey {
        campaign: before.no,
        wave: 2,
        first_index: 1,
        packets: 3,
    };
    let sent = bench.monitor.issuer.send_again(&before, &[key]).await;
    let unread = IssueError::Ledger(LedgerError::Unavailable(String::new()));
    let told = sent.map_err(|error| std::mem::discriminant(&error));
    assert_eq!(told, Err(std::mem::discriminant(&unread)));
    let campaign = bench.monitor.campaign(id).await.unwrap();
    assert_eq!(campaign.halted, None);
}

#[tokio::test]
async fn a_wave_opens_once_the_queue_takes_its_bundles() {
    let down = Faults {
        lose_reply: 1.0,
        ..Faults::default()
    };
    let queue = FaultyQueue::new(Arc::new(MemoryQueue::new()), down, 7);
    let queue = Arc::new(queue);
    let odd = Odd {
        queue: Some(queue.clone()),
        ..Odd::default()
    };
    let bench = Bench::odd(odd).await;
    let refused = bench.post("/monitor/api/campaigns", terms()).await;
    assert_eq!(refused.refusal(), (503, "unavailable".into()));
    assert_eq!(refused.headers["retry-after"], "1");
    let listed = bench.get("/monitor/api/campaigns").await.json();
    let id = listed["campaigns"][0]["id"].as_str().unwrap().to_owned();
    assert!(refused.message().contains(&id), "{}", refused.message());
    queue.set_faults(Faults::default());
    bench.run();
    loop {
        let campaign = bench.monitor.campaign(id.parse().unwrap()).await.unwrap();
        if campaign.packets_issued() >= 4 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_bundle_that_the_queue_lost_comes_again_until_it_is_claimed() {
    let bench = Bench::new().await;
    let one_wave = with(terms_with("packets", json!(4)), "batches", json!(1));
    let campaign = bench.create(one_wave).await;
    let id: rules::CampaignId = campaign["id"].as_str().unwrap().parse().unwrap();
    let name = QueueName::of(id);
    bench.run();
    for (index, left) in [(1, vec![2, 3, 4]), (2, vec![3, 4])] {
        // Received and lost: nobody notes a hold, nobody deletes, nobody releases.
        let for_ever = std::time::Duration::from_secs(3_600);
        bench.queue.receive(&name, 1_000, for_ever).await.unwrap();
        let amount = bench.amount(&id.to_string(), 1, index).await;
        let (user, packet) = (format!("user-{index}"), format!("1-{index}"));
        bench.claim(&id.to_string(), &user, &packet, amount).await;
        // Past the delay, that of the second sending included.
        bench.clock.forward_seconds(60);
        while bench.queue.counts(&name).await.unwrap().visible < left.len() as u64 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let packets = packets_in_queue(&bench, id).await;
        let indices: Vec<_> = packets.iter().map(|(index, _)| *index).collect();
        assert_eq!(indices, left);
    }
}
