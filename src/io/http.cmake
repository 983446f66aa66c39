find_package(OpenSSL 3.0 REQUIRED)
satsuma_library(io_http SOURCES http_server.cpp static_files.cpp certificate.cpp turn_bridge.cpp DEPENDS base crypto ice turn io OpenSSL::SSL OpenSSL::Crypto Threads::Threads)
