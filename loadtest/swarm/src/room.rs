//! One sender, many receivers: what a delivery costs the server, beside a plain write of as many bytes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use crate::client::{Client, Heard, connect_all};
use crate::report::{Latencies, Meter, Report};
use crate::{Run, bare};

/// How long what was sent may take to come, at the end.
const GRACE: Duration = Duration::from_secs(10);
/// What a `receive_message` frame has around its content, about.
const FRAME_BYTES: usize = 200;

type Due = Arc<Mutex<Vec<Instant>>>;

pub(crate) async fn run(run: Run, receivers: u32, rate: u32) -> anyhow::Result<Report> {
    let topic = run.target.chat_topic(0);
    let mut clients = connect_all(&run.target, 0..receivers + 1, |_, _| vec![topic.clone()]).await?;
    let mut sender = clients.pop().context("there is one more than receivers")?;
    let bare = bare::write(receivers as usize, FRAME_BYTES + run.content_bytes)?;
    let total = usize::try_from(u64::from(rate) * run.duration.as_secs())?;
    let due: Due = Arc::default();
    let meter = Meter::start(&run)?;
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for client in clients {
        tasks.spawn(receive(client, total, due.clone(), begin + run.duration + GRACE));
    }
    for number in 0..total {
        let at = begin + Duration::from_secs(1) * u32::try_from(number)? / rate;
        while timeout(at.saturating_duration_since(Instant::now()), sender.hear())
            .await
            .is_ok_and(|heard| heard.is_ok())
        {}
        sleep_until(at.into()).await;
        due.lock().unwrap_or_else(PoisonError::into_inner).push(at);
        sender.send(&topic, number, run.content_bytes).await?;
        sender.flush().await?;
    }
    let mut delivered = Latencies::default();
    while let Some(received) = tasks.join_next().await {
        delivered.merge(received??);
    }
    let used = meter.used()?;
    let deliveries = delivered.len();
    let mut report = Report::new(format!("room, 1 sender, {receivers} receivers, {rate} messages per second"));
    report.add("deliveries", deliveries as f64);
    report.add("missing", (total as u64 * u64::from(receivers)).saturating_sub(deliveries) as f64);
    report.add_latencies("delivered", delivered);
    report.add_cpu(&used, "delivery", deliveries);
    report.add("bare_write_cpu_us", bare.as_secs_f64() * 1e6);
    if let Some(server) = used.server {
        report.add("times_bare", server.as_secs_f64() / deliveries as f64 / bare.as_secs_f64());
    }
    Ok(report)
}

async fn receive(mut client: Client, total: usize, due: Due, until: Instant) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    while latencies.len() < total as u64 {
        tokio::select! {
            heard = client.hear() => if let Heard::Received(number) = heard? {
                let due = due.lock().unwrap_or_else(PoisonError::into_inner).get(number).copied();
                due.into_iter().for_each(|due| latencies.add_since(due));
            },
            () = sleep_until(until.into()) => break,
        }
    }
    Ok(latencies)
}
