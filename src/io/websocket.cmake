# The client's end; the server's is in io_http.
find_package(OpenSSL 3.0 REQUIRED)
satsuma_library(io_websocket SOURCES client_stream.cpp websocket_frames.cpp websocket_client.cpp DEPENDS base io OpenSSL::SSL OpenSSL::Crypto)
