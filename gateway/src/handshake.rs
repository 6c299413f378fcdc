//! What an HTTP request must bring to become a connection. No socket in here.
