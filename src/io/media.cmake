# Without the media loop's Sfu the sockets still stand alone.
satsuma_library(io_udp SOURCES udp_socket.cpp DEPENDS io base)
satsuma_library(io_media SOURCES media_loop.cpp media_streams.cpp shard_link.cpp DEPENDS io io_udp ice sfu Threads::Threads)
