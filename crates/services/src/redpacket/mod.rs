//! redpacket
