satsuma_test(io_udp_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/udp_socket_test.cpp DEPENDS io_udp)
