satsuma_test(sfu_transport_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/transport_test.cpp DEPENDS sfu_transport)
