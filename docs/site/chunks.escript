#!/usr/bin/env escript
%% chunks.escript APPLICATION FOLDER: each documentation chunk (EEP 48) of the folder of an
%% application as FOLDER/MODULE.xml, which erlang_pages.py makes a page of:
%%
%%     <module name="py"> <doc>...</doc>
%%       <type name="info" arity="0"> <spec>-type info() :: ...</spec> <doc>...</doc> </type>
%%       <function name="call" arity="3"> <spec>-spec call(...</spec> <doc>...</doc>
%%       </function> </module>
%%
%% A doc holds the elements of application/erlang+html.
-mode(compile).
-include_lib("kernel/include/eep48.hrl").

-define(WIDTH, 86).

main([Application, Folder]) ->
    Chunks = filelib:wildcard(filename:join(Application, "doc/chunks/*.chunk")),
    [_ | _] = [write(Chunk, Application, Folder) || Chunk <- Chunks].

write(Chunk, Application, Folder) ->
    {ok, Binary} = file:read_file(Chunk),
    Module = filename:basename(Chunk, ".chunk"),
    Public = public(filename:join([Application, "ebin", Module])),
    #docs_v1{module_doc = Doc, docs = Docs} = binary_to_term(Binary),
    Entries = [Entry || Entry <- Docs, lists:member(element(1, Entry), Public)],
    Parts = lists:keysort(1, [entry(Entry) || Entry <- Entries]),
    Page = {module, [{name, Module}], [doc(Doc) | [Part || {_, Part} <- Parts]]},
    Text = xmerl:export_simple([Page], xmerl_xml),
    ok = file:write_file(filename:join(Folder, Module ++ ".xml"),
                         unicode:characters_to_binary(Text)).

%% What others may use.
public(Beam) ->
    {ok, {_, [{exports, Functions}, {abstract_code, {_, Forms}}]}} =
        beam_lib:chunks(Beam, [exports, abstract_code]),
    Types = lists:append([Exported || {attribute, _, export_type, Exported} <- Forms]),
    [{function, Name, Arity} || {Name, Arity} <- Functions] ++
        [{type, Name, Arity} || {Name, Arity} <- Types].

%% With what sorts it: types first, then as in the source.
entry({{Kind, Name, Arity}, Anno, _Signature, Doc, #{signature := Forms}}) ->
    Attributes = [{name, atom_to_list(Name)}, {arity, integer_to_list(Arity)}],
    Specs = [{spec, [], [string:trim(lists:flatten(spec(Form)))]} || Form <- Forms],
    {{Kind =:= function, erl_anno:location(Anno)}, {Kind, Attributes, Specs ++ [doc(Doc)]}}.

%% What an opaque type is made of is nobody's business.
spec({attribute, _, opaque, {Name, _Type, []}}) ->
    io_lib:format("-opaque ~s().", [Name]);
spec(Form) ->
    erl_pp:attribute(Form, [{linewidth, ?WIDTH}]).

doc(#{<<"en">> := Contents}) -> {doc, [], elements(Contents)};
doc(_None) -> {doc, [], []}.

elements(Contents) ->
    [element_of(Element) || Element <- Contents].

element_of(Text) when is_binary(Text) ->
    unicode:characters_to_list(Text);
element_of({Name, Attributes, Contents}) ->
    {Name, [{Key, unicode:characters_to_list(Value)} || {Key, Value} <- Attributes],
     elements(Contents)}.
