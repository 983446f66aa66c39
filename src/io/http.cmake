find_package(OpenSSL 3.0 REQUIRED)
satsuma_library(io_http SOURCES http_server.cpp static_files.cpp certificate.cpp DEPENDS base crypto ice io OpenSSL::SSL OpenSSL::Crypto Threads::Threads)
