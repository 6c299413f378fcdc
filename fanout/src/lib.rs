//! Roost's fanout: reads event streams, routes each message, reaps dead gateways.
