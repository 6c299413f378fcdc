//! Connections that say nothing: what each costs the server in memory, and in CPU time while nothing happens.

use anyhow::Context as _;

use crate::Run;
use crate::client::connect_all;
use crate::process::Process;
use crate::report::{Meter, Report};

pub(crate) async fn run(run: Run, connections: u32) -> anyhow::Result<Report> {
    let server = run.server.as_ref().context("--server-pid is needed: memory is the server's")?;
    let topics = |number: u32, user: &str| vec![run.target.chat_topic(number / 2), format!("notifications:{user}")];
    let before = (server.resident_bytes()?, server.cpu()?);
    let clients = connect_all(&run.target, 0..connections, topics).await?;
    let connecting = server.cpu()? - before.1;
    let meter = Meter::start(&run)?;
    tokio::time::sleep(run.duration).await;
    let idle = meter.used()?.server.unwrap_or_default();
    let after = server.resident_bytes()?;
    let each = |value: f64| value / f64::from(connections);
    let mut report = Report::new(format!("idle, {connections} connections, 2 topics each"));
    report.add("server_rss_before_bytes", before.0 as f64);
    report.add("server_rss_after_bytes", after as f64);
    report.add("server_rss_bytes_per_connection", each(after as f64 - before.0 as f64));
    report.add("server_cpu_us_per_connect_and_joins", each(connecting.as_secs_f64() * 1e6));
    report.add("server_cpu_us_per_second_and_connection", each(idle.as_secs_f64() * 1e6 / run.duration.as_secs_f64()));
    report.add("own_rss_bytes_per_connection", each(Process::own().resident_bytes()? as f64));
    drop(clients);
    Ok(report)
}
