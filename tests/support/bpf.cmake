# sluice_test_bpf(TARGET SOURCE.bpf.c [NAME] [FLAG...]): builds ${CMAKE_CURRENT_BINARY_DIR}/NAME.bpf.o (NAME: SOURCE where
# none is given), with the headers of bpf/ in reach, and TARGET that does it.
function(sluice_test_bpf target source)
  find_program(SLUICE_CLANG NAMES clang clang-14 clang-15 clang-16 clang-19 REQUIRED)
  get_filename_component(name ${source} NAME_WE)
  set(flags ${ARGN})
  if(flags)
    list(POP_FRONT flags name)
  endif()
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o)
  file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/*.h ${CMAKE_SOURCE_DIR}/bpf/*.bpf.c
    ${CMAKE_SOURCE_DIR}/bpf/examples/*.bpf.c)
  add_custom_command(OUTPUT ${object}
    COMMAND ${SLUICE_CLANG} -g -O2 -target bpf -mcpu=v3 -std=gnu11 -Wall -Wextra -Werror ${flags}
      -I${CMAKE_SOURCE_DIR}/bpf
      -isystem /usr/include/${CMAKE_LIBRARY_ARCHITECTURE} -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${source} ${headers}
    COMMENT "BPF ${name}.bpf.o")
  add_custom_target(${target} DEPENDS ${object})
endfunction()
