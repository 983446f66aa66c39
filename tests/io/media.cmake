satsuma_test(io_udp_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/udp_socket_test.cpp DEPENDS io_udp)
satsuma_test(io_media_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/media_loop_test.cpp ${CMAKE_CURRENT_LIST_DIR}/turn_pace_test.cpp ${CMAKE_CURRENT_LIST_DIR}/shard_link_test.cpp DEPENDS io_media)
satsuma_test(media_allocation_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/media_allocation_test.cpp ${CMAKE_CURRENT_LIST_DIR}/../base/counted_allocations.cpp DEPENDS io_media io_http turn OpenSSL::SSL)
